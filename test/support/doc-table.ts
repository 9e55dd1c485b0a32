import { readFileSync, writeFileSync } from "node:fs";

/** A table inside a document that a program writes: between two markers that bear its name. */
export interface DocTable {
	document: string;
	name: string;
	/** The header and the line below it. */
	head: [string, string];
}

/** One line of it; `line` is undefined when there is nothing new: then the old one of this key is kept. */
export interface DocLine {
	/** The first cell. */
	key: string;
	line: string | undefined;
	/** Stands there as long as there has never been a line. */
	empty: string;
}

/** Writes the lines in their order; those of keys that are gone fall away. @throws when the document lacks the markers. */
export function writeDocTable({ document, name, head }: DocTable, lines: DocLine[]): void {
	const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
	const [before, rest] = readFileSync(document, "utf8").split(begin);
	const [old, after] = (rest ?? "").split(end);
	if (before === undefined || old === undefined || after === undefined)
		throw new Error(`${document} lacks its markers ${begin} and ${end}`);
	const kept = (key: string) => old.split("\n").find((line) => line.startsWith(`| ${key} |`));
	const body = lines.map(({ key, line, empty }) => line ?? kept(key) ?? empty);
	writeFileSync(document, [`${before}${begin}`, ...head, ...body, `${end}${after}`].join("\n"));
}
