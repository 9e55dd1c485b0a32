/** The write concern of every command that decides something: a majority has it in its journal. */
export const MAJORITY = { w: "majority", j: true };
