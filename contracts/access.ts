/** Who may call. A producer creates and asks what became of its alarms; a customer has one inbox; an operator runs the system. */
export const ROLES = ["producer", "customer", "operator"] as const;
export type Role = (typeof ROLES)[number];

/** A caller whose credential has been checked. `name` is the producer, the customer's userId or the operator. */
export interface Caller {
	role: Role;
	name: string;
}
