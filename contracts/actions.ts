import type {
	Accepted,
	AlarmStatus,
	BulkAnswer,
	InboxAlarm,
	InboxFilter,
	InboxPage,
	Lane,
	NewAlarm,
	UnreadCount,
} from "./alarm.ts";
import type { ArchivePlan, ArchiveRequest, ArchiveState, Run, RunAnswer, RunList, RunQuery } from "./archive.ts";
import type { AuditState } from "./audit.ts";
import type {
	DiscardAnswer,
	DiscardRequest,
	FailureExport,
	FailurePage,
	FailureQuery,
	RedriveAnswer,
	RedriveRequest,
} from "./failures.ts";
import type { DelayCounts, Lag } from "./lag.ts";
import type { RoutingMap } from "./routing.ts";
import type {
	HistoryQuery,
	MapHistory,
	MovesBegun,
	RebalancePlan,
	RebalanceRequest,
	ShardKey,
	ShardMoveRequest,
	ShardResumeRequest,
	ShardsState,
} from "./shards.ts";

/** The whole inter-service API, one line each: `service.action: (params) => result`. */
export interface Actions {
	"alarm.create.submit": (alarm: NewAlarm) => Accepted;
	"alarm.create.bulk": (bulk: { alarms: unknown[] }) => BulkAnswer;
	"alarm.query.list": (filter: InboxFilter) => InboxPage;
	"alarm.query.get": (key: { userId: string; id: string }) => InboxAlarm;
	"alarm.query.unreadCount": (key: { userId: string }) => UnreadCount;
	"alarm.query.mark": (mark: { userId: string; id: string; read: boolean }) => InboxAlarm;
	"alarm.query.readAll": (mark: { userId: string; category?: string; before?: string }) => { before: string };
	"alarm.query.hide": (key: { userId: string; id: string }) => null;
	"alarm.query.status": (key: { id: string }) => AlarmStatus;
	/** Of this worker alone, in the last five to six minutes. */
	"alarm.consume.delays": (none: Record<never, never>) => Record<Lane, DelayCounts>;
	"alarm.query.failures": (query: FailureQuery) => FailurePage;
	"alarm.query.exportFailures": (query: Omit<FailureQuery, "limit">) => FailureExport;
	"alarm.query.redrive": (request: RedriveRequest) => RedriveAnswer;
	"alarm.query.discard": (request: DiscardRequest) => DiscardAnswer;
	"shard.router.map": (none: Record<never, never>) => RoutingMap;
	"shard.router.ensureCollections": (none: Record<never, never>) => { created: string[] };
	"shard.router.lag": (none: Record<never, never>) => Lag;
	"shard.router.reconcile": (which: { days?: number }) => AuditState;
	"shard.router.reconcileState": (none: Record<never, never>) => AuditState;
	/** What would be done now. */
	"archive.mover.plan": (none: Record<never, never>) => ArchivePlan;
	/** Answers at once with what it has begun, or why not. */
	"archive.mover.run": (request: ArchiveRequest) => RunAnswer;
	/** Stops every open run, whichever mover works on it, until it is asked for again. */
	"archive.mover.stop": (none: Record<never, never>) => RunList;
	"archive.mover.status": (none: Record<never, never>) => ArchiveState;
	"archive.mover.runs": (query: RunQuery) => RunList;
	/** Who has changed the routing map, when, and what. */
	"archive.mover.history": (query: HistoryQuery) => MapHistory;
	/** Where each shard is, how much it holds, and how far its move is. */
	"archive.mover.shards": (none: Record<never, never>) => ShardsState;
	/** The fewest moves that even the load; nothing is changed. */
	"archive.mover.rebalancePlan": (none: Record<never, never>) => RebalancePlan;
	/** Opens the moves of the plan that was seen. */
	"archive.mover.rebalance": (request: RebalanceRequest) => MovesBegun;
	/** Puts the move of a whole shard on record; does not wait for it. */
	"archive.mover.moveShard": (request: ShardMoveRequest) => Run;
	"archive.mover.pauseMove": (key: ShardKey) => Run;
	"archive.mover.resumeMove": (request: ShardResumeRequest) => Run;
	/** Gives a move up, before its switch; its copies are dropped. */
	"archive.mover.cancelMove": (key: ShardKey) => Run;
	"archive.mover.find": (key: { id: string }) => Run;
	/** Puts the erasing of a customer on record; `find` tells how far it is. */
	"archive.mover.erase": (whom: { userId: string }) => Run;
}

/** News that is nice to have at once; each is also found by polling, because an event sent while the bus is down is lost. */
export interface Events {
	"shard.map.changed": { version: number };
	/** Runs were opened or stopped: movers look at them. */
	"archive.runs.changed": Record<never, never>;
	"archive.month.archived": { shard: number; month: string; rows: number };
	"archive.month.dropped": { shard: number; month: string };
}

/** What travels beside the params. `auth` is the caller's credential, checked by each action. */
export interface Meta {
	auth?: string;
	requestId?: string;
}

export type ActionName = keyof Actions;
export type Params<A extends ActionName> = Parameters<Actions[A]>[0];
export type Result<A extends ActionName> = ReturnType<Actions[A]>;
