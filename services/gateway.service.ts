import type { IncomingMessage, ServerResponse } from "node:http";
import { type Context, Errors, type Service, type ServiceSchema } from "moleculer";
import ApiGateway from "moleculer-web";
import type { Config } from "../config.ts";
import type { ActionName, Meta } from "../contracts/actions.ts";
import { type BulkAnswer, LIMITS } from "../contracts/alarm.ts";
import type { RunAnswer } from "../contracts/archive.ts";
import type { ClusterAddition, ClusterRetirement } from "../contracts/clusters.ts";
import { Fault } from "../contracts/errors.ts";
import type { FailureExport } from "../contracts/failures.ts";
import { invalid } from "../domain/validation-fault.ts";
import type { HasAdmission } from "../lib/admission.ts";
import { BodyBudget } from "../lib/http/body-budget.ts";
import { isDraining } from "../lib/http/drain-gateway.ts";
import { readJsonBody } from "../lib/http/json-body.ts";
import { type Problem, toProblem } from "../lib/http/problem.ts";
import { sendMetrics } from "../lib/metrics/metrics-server.ts";
import { readinessOf } from "../lib/moleculer/readiness.ts";
import { admission } from "../mixins/admission.mixin.ts";

/** REST, and nothing else: explicit aliases only; who is calling is checked before a body is read. */

type Gateway = Service & HasAdmission;
interface Req extends IncomingMessage {
	$ctx: Context<unknown, Meta>;
	$params:
		| { query?: Record<string, unknown>; body?: unknown; params?: Record<string, string> }
		| Record<string, unknown>;
	$alias?: { action?: string };
	query: Record<string, unknown>;
	parsedUrl: string;
	originalUrl: string;
	body?: Record<string, unknown>;
}
type Next = (error?: unknown) => void;

const ALIASES = {
	"POST /v1/alarms": "alarm.create.submit",
	"POST /v1/alarms/bulk": "alarm.create.bulk",
	"GET /v1/alarms/:id/status": "alarm.query.status",
	"GET /v1/users/:userId/alarms": "alarm.query.list",
	"GET /v1/users/:userId/alarms/unread-count": "alarm.query.unreadCount",
	"POST /v1/users/:userId/alarms/read-all": "alarm.query.readAll",
	"GET /v1/users/:userId/alarms/:id": "alarm.query.get",
	"PATCH /v1/users/:userId/alarms/:id": "alarm.query.mark",
	"DELETE /v1/users/:userId/alarms/:id": "alarm.query.hide",
	"GET /v1/failures": "alarm.query.failures",
	"GET /v1/failures/export": "alarm.query.exportFailures",
	"POST /v1/failures/redrive": "alarm.query.redrive",
	"POST /v1/failures/discard": "alarm.query.discard",
	"GET /v1/ops/map": "shard.router.map",
	"GET /v1/ops/clusters": "shard.router.clusters",
	"POST /v1/ops/clusters": "shard.router.addCluster",
	"DELETE /v1/ops/clusters/:name": "shard.router.retireCluster",
	"GET /v1/ops/lag": "shard.router.lag",
	"POST /v1/ops/reconcile": "shard.router.reconcile",
	"GET /v1/ops/reconcile": "shard.router.reconcileState",
	"GET /v1/ops/archive": "archive.mover.status",
	"GET /v1/ops/archive/plan": "archive.mover.plan",
	"POST /v1/ops/archive/run": "archive.mover.run",
	"POST /v1/ops/archive/stop": "archive.mover.stop",
	"GET /v1/ops/archive/runs": "archive.mover.runs",
	"GET /v1/ops/archive/runs/:id": "archive.mover.find",
	"GET /v1/ops/shards": "archive.mover.shards",
	"GET /v1/ops/shards/history": "archive.mover.history",
	"GET /v1/ops/shards/plan": "archive.mover.rebalancePlan",
	"POST /v1/ops/shards/rebalance": "archive.mover.rebalance",
	"POST /v1/ops/shards/:shard/move": "archive.mover.moveShard",
	"POST /v1/ops/shards/:shard/pause": "archive.mover.pauseMove",
	"POST /v1/ops/shards/:shard/resume": "archive.mover.resumeMove",
	"POST /v1/ops/shards/:shard/cancel": "archive.mover.cancelMove",
	"POST /v1/ops/erase": "archive.mover.erase",
} satisfies Record<string, ActionName>;

/** What an action's success is in HTTP, where it is not 200. */
const SUCCESS: Partial<Record<ActionName, (answer: unknown) => number>> = {
	"alarm.create.submit": () => 202,
	"alarm.create.bulk": (answer) => ((answer as BulkAnswer).rejected === 0 ? 202 : 207),
	"alarm.query.hide": () => 204,
	"shard.router.addCluster": (answer) => ((answer as ClusterAddition).state === "added" ? 201 : 200),
	"shard.router.retireCluster": (answer) => ((answer as ClusterRetirement).state === "retired" ? 200 : 202),
	"shard.router.reconcile": () => 202,
	"archive.mover.erase": () => 202,
	"archive.mover.rebalance": () => 202,
	"archive.mover.moveShard": () => 202,
	"archive.mover.resumeMove": () => 202,
	"archive.mover.cancelMove": () => 202,
	"archive.mover.run": (answer) => ((answer as RunAnswer).begun.length > 0 ? 202 : 200),
};

const HAS_BODY = new Set(["POST", "PATCH", "PUT"]);
/** A creation is answered within 3 s, a read within 5; a client that sends its request more slowly is cut off. */
const SLOWEST_REQUEST_MS = 30_000;
/** Of the process: its memory is what must stay flat. */
const BODIES = new BodyBudget(LIMITS.bodyBytesInHand);

export default function gateway(config: Config): ServiceSchema {
	return {
		name: "gateway",
		mixins: [ApiGateway, admission(config)],
		settings: {
			port: config.port,
			ip: config.bindAddress,
			requestTimeout: SLOWEST_REQUEST_MS,
			rootCallOptions: { trackContext: false },
			logRequest: config.requestLog ? "info" : null,
			logRequestParams: null,
			logResponse: config.requestLog ? "info" : null,
			logRouteRegistration: null,
			// No nested objects out of a query: ?filter[$ne]=x is a field of that odd name, and refused as unknown.
			qsOptions: { depth: 0, parameterLimit: 50, plainObjects: true, allowPrototypes: true },
			onError: sendProblem,
			routes: [
				{
					path: "/",
					aliases: ALIASES,
					mappingPolicy: "restrict",
					whitelist: Object.values(ALIASES),
					mergeParams: false,
					bodyParsers: false,
					logging: config.requestLog,
					pathToRegexpOptions: { sensitive: true },
					use: [authenticate, readBody],
					onBeforeCall: composeParams,
					onAfterCall: setStatus,
				},
				{ path: "/health", aliases: { "GET live": live, "GET ready": ready }, bodyParsers: false, logging: false },
				{ path: "/metrics", aliases: { "GET /": metrics }, bodyParsers: false, logging: false },
			],
		},
		// The mixin would let any node on the bus add a route.
		actions: { listAliases: false, addRoute: false, removeRoute: false },
	} as unknown as ServiceSchema;
}

function live(_req: unknown, res: ServerResponse): void {
	sendJson(res, 200, { status: "live" });
}

function ready(this: Gateway, _req: unknown, res: ServerResponse): void {
	const readiness = readinessOf(this.broker);
	sendJson(res, readiness.status === "not ready" ? 503 : 200, readiness);
}

function metrics(this: Gateway, _req: unknown, res: ServerResponse): Promise<void> {
	return sendMetrics(this.broker, res);
}

function sendJson(res: ServerResponse, status: number, body: unknown, type = "application/json"): void {
	res.writeHead(status, { "Content-Type": `${type}; charset=utf-8` });
	res.end(JSON.stringify(body));
}

/** Before the body is read: a stranger gets no memory of ours. */
async function authenticate(this: Gateway, req: Req, res: ServerResponse, next: Next): Promise<void> {
	if (isDraining(this.broker)) res.setHeader("Connection", "close");
	try {
		const auth = bearerOf(req);
		await this.admission.identify(auth);
		if (auth !== undefined) req.$ctx.meta.auth = auth;
		next();
	} catch (error) {
		req.resume();
		next(toWeb(error));
	}
}

function bearerOf(req: IncomingMessage): string | undefined {
	return /^Bearer (\S{1,4096})$/i.exec(req.headers.authorization ?? "")?.[1];
}

async function readBody(this: Gateway, req: Req, _res: ServerResponse, next: Next): Promise<void> {
	try {
		if (HAS_BODY.has(req.method ?? "")) req.body = await readJsonBody(req, limitOf(req), BODIES);
		next();
	} catch (error) {
		next(toWeb(error));
	}
}

/** Of what a middleware hands on, moleculer-web drops the data (and with it when to come again) unless it is an error of Moleculer's own. */
function toWeb(error: unknown): unknown {
	if (!(error instanceof Fault)) return error;
	return new Errors.MoleculerError(error.message, error.code, error.type, error.data);
}

function limitOf({ method, parsedUrl }: Req): number {
	if (parsedUrl.startsWith("/v1/failures/")) return LIMITS.failureRequestBytes;
	const isCreation = method === "POST" && /^\/v1\/alarms(\/bulk)?$/.test(parsedUrl);
	return isCreation ? LIMITS.requestBytes : LIMITS.markRequestBytes;
}

/** One flat object for the action: the body or the query, and the path. A field of the path cannot be given twice. */
function composeParams(this: Gateway, _ctx: Context, _route: unknown, req: Req): void {
	const { params: path = {} } = req.$params as { params?: Record<string, string> };
	const sent = req.body ?? req.query;
	const strange = req.body === undefined ? [] : Object.keys(req.query);
	const twice = Object.keys(sent).filter((field) => field in path);
	// qs drops this one without a word.
	const hidden = /[?&]__proto__/.test(req.originalUrl) ? ["__proto__"] : [];
	rejectFields([...strange, ...twice, ...hidden]);
	req.$params = { ...sent, ...path, ...keyOf(req, sent) };
}

/** The Idempotency-Key header of a single creation; the body may carry the same key, but not another one. */
function keyOf(req: Req, sent: Record<string, unknown>): { idempotencyKey?: string } {
	const key = req.headers["idempotency-key"];
	if (typeof key !== "string" || req.$alias?.action !== "alarm.create.submit") return {};
	if (sent.idempotencyKey === undefined || sent.idempotencyKey === key) return { idempotencyKey: key };
	const message = "The Idempotency-Key header and the field idempotencyKey differ; send one of them.";
	throw new Fault("VALIDATION_FAILED", message, { faults: [{ field: "idempotencyKey", rule: "differs", message }] });
}

function rejectFields(names: string[]): void {
	if (names.length === 0) return;
	throw invalid(names.map((field) => ({ field, rule: "unknown", message: `"${field}" cannot be given here.` })));
}

function setStatus(
	this: Gateway,
	_ctx: Context,
	_route: unknown,
	req: Req,
	res: ServerResponse,
	answer: unknown,
): unknown {
	const status = SUCCESS[req.$alias?.action as ActionName]?.(answer);
	if (status !== undefined) res.statusCode = status;
	return req.$alias?.action === "alarm.query.exportFailures" ? asCsv(req, res, answer as FailureExport) : answer;
}

/** A file to be saved; what a JSON answer says beside its items stands in headers. */
function asCsv({ $ctx }: Req, res: ServerResponse, { csv, nextCursor, unavailable }: FailureExport): string {
	res.setHeader("Content-Disposition", 'attachment; filename="failures.csv"');
	if (nextCursor !== null) res.setHeader("X-Next-Cursor", nextCursor);
	if (unavailable !== undefined) res.setHeader("X-Unavailable", unavailable.join(","));
	// moleculer-web takes the type of an answer from here only.
	($ctx.meta as { $responseType?: string }).$responseType = "text/csv; charset=utf-8";
	return csv;
}

/** An error that cannot even be told must not end the process: nobody catches what is thrown here. */
function safeProblem(error: unknown, action: string | undefined): Problem {
	try {
		return toProblem(error, action);
	} catch {
		return toProblem(undefined);
	}
}

function sendProblem(this: Gateway, req: Req, res: ServerResponse, error: unknown): void {
	if (res.headersSent) return void res.destroy();
	const { retryAfterS, ...problem } = safeProblem(error, req.$alias?.action);
	if (problem.status === 500) this.logger.error(error instanceof Error ? error.stack : error);
	if (problem.status === 401) res.setHeader("WWW-Authenticate", "Bearer");
	if (retryAfterS !== undefined) res.setHeader("Retry-After", retryAfterS);
	sendJson(res, problem.status, problem, "application/problem+json");
}
