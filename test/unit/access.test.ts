import { ROLES } from "../../contracts/access.ts";
import { type Credentials, callerOfKey, hashSecret, mayCall, parseCredential, showKey } from "../../domain/access.ts";

const ID = "abcdefghij12";
const SECRET = "A-_9".repeat(10).concat("xyz");
const credentials: Credentials = {
	keys: [
		{ id: "other0000000", role: "operator", name: "ops", secretHash: hashSecret("other") },
		{ id: ID, role: "producer", name: "core-banking", secretHash: hashSecret(SECRET) },
	],
	customerKeys: [],
};

describe("a credential", () => {
	test("that is a key comes back with its id and secret", () => {
		expect(parseCredential(showKey(ID, SECRET))).toEqual({ kind: "key", id: ID, secret: SECRET });
	});

	test("of three parts is a token", () => {
		expect(parseCredential("aa.b-b.c_c")).toEqual({ kind: "token", jwt: "aa.b-b.c_c" });
	});

	test.each([
		["empty", ""],
		["a key with a short id", `ak_abc_${SECRET}`],
		["a key with capitals in its id", `ak_ABCDEFGHIJ12_${SECRET}`],
		["a key with a short secret", `ak_${ID}_${SECRET.slice(1)}`],
		["a key with a long secret", `ak_${ID}_${SECRET}x`],
		["a key with a space behind it", `${showKey(ID, SECRET)} `],
		["a key with a newline behind it", `${showKey(ID, SECRET)}\n`],
		["a token of two parts", "aa.bb"],
		["a token with an empty part", "aa..cc"],
		["a token of four parts", "aa.bb.cc.dd"],
	])("that is %s is none", (_, text) => {
		expect(parseCredential(text)).toBeNull();
	});
});

describe("a key", () => {
	test("is kept as a hash that does not show its secret", () => {
		expect(hashSecret(SECRET)).toMatch(/^[0-9a-f]{64}$/);
		expect(JSON.stringify(credentials)).not.toContain(SECRET);
	});

	test("names its caller", () => {
		expect(callerOfKey(credentials, ID, SECRET)).toEqual({ role: "producer", name: "core-banking" });
	});

	test("with another secret names nobody", () => {
		expect(callerOfKey(credentials, ID, `${SECRET.slice(0, -1)}!`)).toBeNull();
		expect(callerOfKey(credentials, ID, "")).toBeNull();
		expect(callerOfKey(credentials, ID, "other")).toBeNull();
	});

	test("that is unknown names nobody", () => {
		expect(callerOfKey(credentials, "zzzzzzzzzzzz", SECRET)).toBeNull();
		expect(callerOfKey({ keys: [], customerKeys: [] }, ID, SECRET)).toBeNull();
	});
});

describe("a caller", () => {
	test.each(ROLES)("that is a %s may not do what is for others", (role) => {
		const others = ROLES.filter((other) => other !== role);
		expect(mayCall({ role, name: "u1" }, others, { userId: "u1" })).toBe(false);
	});

	test.each(["producer", "operator"] as const)("that is a %s may do what is for its role, for any customer", (role) => {
		expect(mayCall({ role, name: "x" }, [role], { userId: "u1" })).toBe(true);
		expect(mayCall({ role, name: "x" }, ROLES, {})).toBe(true);
	});

	test("that is a customer may do it for its own userId only", () => {
		const customer = { role: "customer", name: "u1" } as const;
		expect(mayCall(customer, ["customer"], { userId: "u1" })).toBe(true);
		expect(mayCall(customer, ["customer"], { userId: "u2" })).toBe(false);
		expect(mayCall(customer, ["customer"], { userId: ["u1"] })).toBe(false);
		expect(mayCall(customer, ["customer"], {})).toBe(false);
	});

	test("may do nothing that is for nobody", () => {
		expect(mayCall({ role: "operator", name: "x" }, [], {})).toBe(false);
	});
});
