/** Something that whoever called us has to put right; shown as one line. */
export class UsageFault extends Error {}
