import type { Context, Service, ServiceSchema } from "moleculer";
import type { Caller, Role } from "../../contracts/access.ts";
import type { ActionName, Events, Meta, Params, Result } from "../../contracts/actions.ts";
import { invalid } from "../../domain/validation-fault.ts";
import type { HasAdmission } from "../admission.ts";
import { shapeCheck } from "../http/validate.ts";

/** The only place where our types meet Moleculer's loose ones. */

type Rule = string | boolean | Record<string, unknown>;
/** One rule per field: none forgotten, none invented. */
export type Rules<P> = { readonly [F in keyof P]-?: Rule } & { readonly $$strict: true };

interface Action<A extends ActionName, This> {
	/** Who may call; a customer only for its own `userId`. Checked before the handler, for callers of REST and of the bus alike. */
	access: readonly Role[];
	params: Rules<Params<A>>;
	/** Of a call over the bus; without it, the broker's. */
	timeout?: number;
	handler(this: This, ctx: Context<Params<A>, Meta>, caller: Caller): Promise<Result<A>>;
}
/** The actions service S has promised in the contract: each of them and no other. */
type ActionsOf<S extends string, This> = {
	[A in ActionName as A extends `${S}.${infer Short}` ? Short : never]: Action<A, This>;
};
type Handlers<This> = {
	[E in keyof Events]?: (this: This, ctx: Context<Events[E], Meta>) => Promise<void>;
};
interface Definition<S extends string, Vars> {
	name: S;
	mixins?: Partial<ServiceSchema>[];
	actions: ActionsOf<S, Service & Vars>;
	events?: Handlers<Service & Vars>;
	started?(this: Service & Vars): Promise<void>;
	stopped?(this: Service & Vars): Promise<void>;
}

type AnyAction = {
	access: readonly Role[];
	params: Record<string, unknown>;
	handler: (ctx: Context<unknown, Meta>, caller: Caller) => Promise<unknown>;
};

/** A service of the contract: typed, and with every action behind the check of its caller. */
export function defineService<S extends string, Vars extends HasAdmission | object = object>(
	definition: Definition<S, Vars>,
): ServiceSchema {
	const actions = Object.entries(definition.actions as Record<string, AnyAction>);
	return {
		...definition,
		actions: Object.fromEntries(actions.map(([name, action]) => [name, guarded(action)])),
	} as unknown as ServiceSchema;
}

/** The caller first, then the params: a stranger is not told what would have been right. Moleculer's validator would come first. */
function guarded({ access, params, handler, ...rest }: AnyAction): object {
	const faultsOf = shapeCheck(params);
	return {
		...rest,
		async handler(this: Service & HasAdmission, ctx: Context<unknown, Meta>) {
			const caller = await this.admission.admit(ctx.meta.auth, access, ctx.params);
			const faults = faultsOf(ctx.params);
			if (faults.length > 0) throw invalid(faults);
			return handler.call(this, ctx, caller);
		},
	};
}

/** A context inside a handler; a broker in tests and `started`. */
interface Calling {
	call<R, P>(action: string, params: P, opts?: CallOptions): Promise<R>;
}
interface CallOptions {
	meta?: Meta;
	/** The one node that is to answer. */
	nodeID?: string;
}
export function call<A extends ActionName>(
	from: Calling,
	action: A,
	params: Params<A>,
	opts?: CallOptions,
): Promise<Result<A>> {
	return from.call<Result<A>, Params<A>>(action, params, opts);
}

interface Broadcasting {
	broadcast<D>(event: string, data: D): Promise<unknown>;
}
export async function broadcast<E extends keyof Events>(from: Broadcasting, event: E, data: Events[E]): Promise<void> {
	await from.broadcast(event, data);
}
