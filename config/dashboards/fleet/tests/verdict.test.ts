import assert from "node:assert/strict";
import { test } from "node:test";

import { getPublicKeyAsync, signAsync } from "@noble/ed25519";

import { emptyFleet, take } from "../src/fleet.ts";
import { fromBase64, readResult, type Result } from "../src/result.ts";
import { judge, readKeys } from "../src/verdict.ts";

const TYPE = "application/vnd.edge-agent.result.v1+json";
const SEED = new Uint8Array(32).fill(7);
const OTHER = new Uint8Array(32).fill(8);
const SAYS = {
  v: 1, node: "pi-01", command: "c-1", digest: null, n: 3, state: "succeeded", reason: null, message: "<b>done</b>",
  application: "shop", revision: null, deploy_state: "RolledBack", at: "2026-11-24T20:31:28.000Z",
};
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
const publicKey = async (seed: Uint8Array): Promise<string> => base64(await getPublicKeyAsync(seed));

async function seal(says: object, seed: Uint8Array, type = TYPE): Promise<Uint8Array> {
  const payload = Buffer.from(JSON.stringify(says));
  const message = Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload]);
  const sig = base64(await signAsync(message, seed));
  return Buffer.from(JSON.stringify({ payload: base64(payload), payloadType: type, signatures: [{ keyid: "pi-01", sig }] }));
}

function read(bytes: Uint8Array): Result {
  const result = readResult("pi-01", "c-1", bytes);
  assert.ok(result);
  return result;
}

test("a result holds by the viewer's key, and for less by the key that the broker tells", async () => {
  const result = read(await seal(SAYS, SEED));
  const [right, wrong] = [await publicKey(SEED), await publicKey(OTHER)];
  assert.equal(await judge(result, new Map([["pi-01", right]]), null), "verified");
  assert.equal(await judge(result, new Map(), right), "as_told");
  assert.equal(await judge(result, new Map([["pi-02", right]]), null), "no_key");
  assert.equal(await judge(result, new Map(), "c2hvcnQ="), "no_key");
  // The viewer's key counts, whatever the broker tells.
  assert.equal(await judge(result, new Map([["pi-01", wrong]]), right), "forged");
});

test("a result of another node, command or type, or with a byte changed, is none", async () => {
  const keys = new Map([["pi-01", await publicKey(SEED)]]);
  assert.equal(await judge(read(await seal({ ...SAYS, node: "pi-02" }, SEED)), keys, null), "forged");
  assert.equal(await judge(read(await seal({ ...SAYS, command: "c-2" }, SEED)), keys, null), "forged");
  assert.equal(readResult("pi-01", "c-1", await seal(SAYS, SEED, "application/vnd.edge-agent.command.v1+json")), undefined);
  const result = read(await seal(SAYS, SEED));
  result.message[result.message.length - 2]! ^= 1;
  assert.equal(await judge(result, keys, null), "forged");
  const short = { ...result, signatures: [new Uint8Array(10)] };
  assert.equal(await judge(short, keys, null), "forged");
});

test("a key of small order signs nothing", async () => {
  const nothing = base64(new Uint8Array(32));
  const result = { ...read(await seal(SAYS, SEED)), signatures: [new Uint8Array(64)] };
  assert.equal(await judge(result, new Map([["pi-01", nothing]]), null), "forged");
});

test("results are bounded, and the newest is first", async () => {
  const fleet = emptyFleet();
  const sealed = await seal(SAYS, SEED);
  take(fleet, "edge/v1/pi-01/result/c-1", sealed, 1);
  take(fleet, "edge/v1/pi-01/result/c-0", await seal({ ...SAYS, command: "c-0", at: "2026-11-23T00:00:00.000Z" }, SEED), 2);
  assert.deepEqual(fleet.results.map((result) => result.command), ["c-1", "c-0"]);
  take(fleet, "edge/v1/pi-01/result/c-0", new Uint8Array(), 3);
  assert.deepEqual(fleet.nodes.get("pi-01")?.results.map((result) => result.command), ["c-1"]);
  assert.equal(readResult("pi-01", "c-1", new Uint8Array(9000)), undefined);
  const many = JSON.parse(Buffer.from(sealed).toString()) as { signatures: unknown[] };
  many.signatures = Array.from({ length: 5 }, () => many.signatures[0]);
  assert.equal(readResult("pi-01", "c-1", Buffer.from(JSON.stringify(many))), undefined);
});

test("base64 is taken in both alphabets, with and without padding, and not mixed", () => {
  for (const text of ["+/+/Pg==", "-_-_Pg==", "+/+/Pg", "-_-_Pg"]) assert.deepEqual(fromBase64(text), Uint8Array.of(0xfb, 0xff, 0xbf, 0x3e), text);
  for (const text of ["+_+_Pg", "+/+/Pg==\n", "+/+/ Pg==", "=", 5, null]) assert.equal(fromBase64(text), undefined, String(text));
});

test("keys are pasted as the Drone plugin takes them, and what is none is named", async () => {
  const key = await publicKey(SEED);
  const { keys, faults } = readKeys(`pi-01=${key}, pi-02 = ${key}\n# a comment\npi 03=${key}\npi-04=short\n\n`);
  assert.deepEqual([...keys.keys()], ["pi-01", "pi-02"]);
  assert.deepEqual(faults, [`pi 03=${key}`, "pi-04=short"]);
});
