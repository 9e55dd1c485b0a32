/** An error that no later try will mend: a process that meets it at its start does not start. */
export class Refusal extends Error {
	override readonly name: string = "Refusal";
}
