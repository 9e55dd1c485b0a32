/** Prometheus' text format, read strictly: every line must be one of it, and belong to a metric that was announced before. */
export type Series = Record<string, number>;

const SAMPLE =
	/^([a-zA-Z_:][\w:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\]|\\.)*",?)+\})? (-?[\d.]+(?:e[+-]?\d+)?|[+-]Inf|NaN|Nan)$/;

/** Value by series as it is written: `name{label="value"}`. @throws on a line that is not of the format. */
export function parseExposition(text: string): Series {
	const series: Series = {};
	const announced = new Set<string>();
	for (const line of text.split("\n").filter(Boolean)) {
		const [, typed] = /^# TYPE (\S+) (?:counter|gauge|histogram|summary)$/.exec(line) ?? [];
		if (typed !== undefined) announceOnce(announced, typed);
		else if (!line.startsWith("# HELP ")) addSample(series, announced, line);
	}
	return series;
}

function announceOnce(announced: Set<string>, name: string): void {
	if (announced.has(name)) throw new Error(`${name} is announced twice`);
	announced.add(name);
}

function addSample(series: Series, announced: Set<string>, line: string): void {
	const [, name = "", labels = "", value = ""] = SAMPLE.exec(line) ?? [];
	if (name === "") throw new Error(`this is no sample: ${line}`);
	const family = name.replace(/_(bucket|sum|count)$/, "");
	if (!announced.has(name) && !announced.has(family)) throw new Error(`${name} was not announced`);
	if (`${name}${labels}` in series) throw new Error(`${name}${labels} stands twice`);
	series[`${name}${labels}`] = Number(value.replace("Inf", "Infinity"));
}

/** The series that begin so, apart from the process's own. */
export function only(series: Series, prefix: string): Series {
	return Object.fromEntries(Object.entries(series).filter(([name]) => name.startsWith(prefix)));
}

export async function scrape(url: string): Promise<Series> {
	const reply = await fetch(`${url}/metrics`);
	if (reply.status !== 200) throw new Error(`${url} answered ${reply.status}`);
	if (!reply.headers.get("content-type")?.startsWith("text/plain; version=0.0.4")) throw new Error("another format");
	return parseExposition(await reply.text());
}
