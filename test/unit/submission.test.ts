import { Fault } from "../../contracts/errors.ts";
import { decodeBatch } from "../../domain/alarms/batch.ts";
import { belongsTo, idTimeMs } from "../../domain/alarms/ids.ts";
import { prepare } from "../../domain/alarms/submission.ts";
import { invalid } from "../../domain/validation-fault.ts";
import { alarm, DAY_MS, iso, NOW_MS, SECOND_MS } from "./samples.ts";

function faultOf(deed: () => unknown): Fault {
	try {
		deed();
	} catch (error) {
		if (error instanceof Fault) return error;
		throw error;
	}
	throw new Error("nothing was thrown");
}
const prepared = (own: Parameters<typeof alarm>[0] = {}) => prepare(alarm(own), "core-banking", NOW_MS, "realtime");

describe("a new alarm", () => {
	test("gets an id of its customer and of now", () => {
		const { item, acceptedAtMs } = prepared();
		expect(belongsTo(item.id, "u1")).toBe(true);
		expect(idTimeMs(item.id)).toBe(NOW_MS);
		expect(acceptedAtMs).toBe(NOW_MS);
	});

	test("is queued with its producer and the moment of acceptance, and nothing is lost of it", () => {
		const sent = alarm({ data: { a: [1] }, idempotencyKey: "k1", link: "app://x" });
		const { item } = prepare(sent, "core-banking", NOW_MS, "realtime");
		expect(decodeBatch(Buffer.from(item.line))).toEqual([
			{ id: item.id, queued: { producer: "core-banking", acceptedAtMs: NOW_MS, alarm: sent }, line: item.line },
		]);
	});

	test("gets another id each time", () => {
		expect(prepared().item.id).not.toEqual(prepared().item.id);
	});

	test("goes by the lane of its request, unless it names one", () => {
		expect(prepared().lane).toBe("realtime");
		expect(prepare(alarm(), "p", NOW_MS, "bulk").lane).toBe("bulk");
		expect(prepared({ lane: "bulk" }).lane).toBe("bulk");
	});

	test("is not changed", () => {
		const sent = Object.freeze(alarm({ sendAt: iso(NOW_MS + DAY_MS) }));
		expect(() => prepare(sent, "p", NOW_MS, "bulk")).not.toThrow();
	});
});

describe("an alarm for later", () => {
	test("gets an id of that moment, and is accepted now", () => {
		const { item, acceptedAtMs } = prepared({ sendAt: iso(NOW_MS + DAY_MS) });
		expect(idTimeMs(item.id)).toBe(NOW_MS + DAY_MS);
		expect(acceptedAtMs).toBe(NOW_MS);
	});

	test("whose moment is just over gets an id of now", () => {
		expect(idTimeMs(prepared({ sendAt: iso(NOW_MS - SECOND_MS) }).item.id)).toBe(NOW_MS);
	});
});

describe("a refusal", () => {
	test("carries every fault of the alarm", () => {
		const fault = faultOf(() => prepared({ title: " ", sendAt: iso(0) }));
		expect(fault.type).toBe("VALIDATION_FAILED");
		expect(fault.data).toMatchObject({ faults: [{ field: "title" }, { field: "sendAt" }] });
	});

	test("says that templates are not available yet, and which was asked for", () => {
		const { title: _title, body: _body, ...bare } = alarm();
		const fault = faultOf(() => prepare({ ...bare, template: "welcome" }, "p", NOW_MS, "realtime"));
		expect(fault).toMatchObject({ type: "TEMPLATES_UNAVAILABLE", code: 422, retryable: false });
		expect(fault.message).toContain('"welcome"');
	});

	test("names faulty fields before it speaks of templates", () => {
		expect(faultOf(() => prepared({ template: "welcome" })).type).toBe("VALIDATION_FAILED");
	});

	test("is a fault of the contract: status 422, not to be repeated", () => {
		expect(invalid([])).toMatchObject({ type: "VALIDATION_FAILED", code: 422, retryable: false });
	});
});
