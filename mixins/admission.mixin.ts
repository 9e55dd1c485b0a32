import type { Service, ServiceSchema } from "moleculer";
import type { Config } from "../config.ts";
import { Admission, type HasAdmission } from "../lib/admission.ts";
import { addReadinessCheck } from "../lib/moleculer/readiness.ts";
import { share } from "../lib/moleculer/shared-resource.ts";
import { CachedDocument } from "../stores/routing/cached-document.ts";
import { CREDENTIALS_ID, type VersionedCredentials } from "../stores/routing/credentials.ts";
import { shareClusters } from "./clusters.ts";

interface Vars extends HasAdmission {
	releaseAdmission: () => Promise<void>;
}

/** Checks callers against the stored credentials: one memory of them per process. */
export function admission(config: Config): Partial<ServiceSchema> {
	return {
		async started(this: Service & Vars) {
			const clusters = shareClusters(this, config);
			const shared = share(this.broker, CREDENTIALS_ID, () => {
				const cached = new CachedDocument<VersionedCredentials>(clusters.value, CREDENTIALS_ID, {
					onError: (error) => this.logger.warn(`the credentials could not be loaded: ${error}`),
				});
				return { value: { cached, check: new Admission(() => cached.current) }, close: () => cached.stop() };
			});
			this.admission = shared.value.check;
			this.releaseAdmission = async () => {
				await shared.release();
				await clusters.release();
			};
			const { cached } = shared.value;
			addReadinessCheck(this.broker, "credentials", () => (cached.isLoaded ? null : "they have not been loaded yet"));
			await cached.start();
		},
		async stopped(this: Service & Vars) {
			await this.releaseAdmission?.();
		},
	} as unknown as Partial<ServiceSchema>;
}
