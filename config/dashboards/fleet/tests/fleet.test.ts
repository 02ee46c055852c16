import assert from "node:assert/strict";
import { test } from "node:test";

import { emptyFleet, take } from "../src/fleet.ts";
import { parseTopic } from "../src/topic.ts";

const encode = (value: unknown): Uint8Array => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
const NOTHING = new Uint8Array();
const at = "2026-11-24T20:31:28.000Z";
const PRESENCE = { v: 1, online: true, since: at, reason: "started", boot: null, agent: "0.1.0" };
const APPLICATION = {
  v: 1, at, application: "shop", namespace: "argocd", project: "default", state: "RolledBack", sync: "Synced", health: "Healthy",
  revision: "a".repeat(40), images: ["registry.example/shop@sha256:1"], operation: null, culprit: null,
  hold: { mode: "pin", from: "b", to: "a", command: "c-1", since: at }, reconciled_at: at,
};

test("topics are those of an agent and no others", () => {
  assert.deepEqual(parseTopic("edge/v1/pi-01/app/shop"), { node: "pi-01", kind: "app", name: "shop" });
  assert.deepEqual(parseTopic("edge/v1/pi-01/presence"), { node: "pi-01", kind: "presence", name: "" });
  const others = ["", "edge/v1/pi-01", "edge/v1//presence", "edge/v1/pi-01/command", "edge/v1/pi-01/app/", "edge/v1/pi-01/app/a/b",
    "edge/v1/pi 01/health", "edge/v1/pi-01/presence/", "edge/v1/pi-01/result/a b", "edge/v2/pi-01/health", `edge/v1/${"x".repeat(65)}/health`];
  for (const topic of others) assert.equal(parseTopic(topic), undefined, topic);
});

test("a node is known by what it says, and gone with its last topic", () => {
  const fleet = emptyFleet();
  assert.equal(take(fleet, "edge/v1/pi-01/presence", encode(PRESENCE), 5), "pi-01");
  take(fleet, "edge/v1/pi-01/app/shop", encode(APPLICATION), 6);
  const node = fleet.nodes.get("pi-01");
  assert.deepEqual(node?.presence, { online: true, since: Date.parse(at), reason: "started" });
  assert.equal(node?.applications.get("shop")?.hold?.mode, "pin");
  assert.equal(node?.heard, 6);
  take(fleet, "edge/v1/pi-01/app/shop", NOTHING, 7);
  assert.equal(fleet.nodes.get("pi-01")?.applications.size, 0);
  assert.equal(take(fleet, "edge/v1/pi-01/presence", NOTHING, 8), "pi-01");
  assert.equal(fleet.nodes.size, 0);
  assert.equal(take(fleet, "edge/v1/pi-02/presence", NOTHING, 9), undefined);
  assert.equal(fleet.nodes.size, 0);
});

test("nothing that is not understood changes anything", () => {
  const fleet = emptyFleet();
  take(fleet, "edge/v1/pi-01/presence", encode(PRESENCE), 1);
  const before = fleet.nodes.get("pi-01");
  const bad: [string, Uint8Array][] = [
    ["presence", encode("not json")], ["presence", encode({ ...PRESENCE, v: 2 })], ["presence", encode({ v: 1, online: "yes" })],
    ["health", encode([])], ["health", encode("null")], ["app/shop", encode({ v: 1 })], ["indication", encode({ v: 1 })],
    ["event", encode({ id: "1", type: "x" })], ["result/c", encode({})], ["health", Uint8Array.of(0xff, 0xfe)],
    ["app/shop", encode({ ...APPLICATION, project: "x".repeat(70_000) })],
  ];
  for (const [topic, payload] of bad) assert.equal(take(fleet, `edge/v1/pi-01/${topic}`, payload, 2), undefined, topic);
  assert.equal(fleet.nodes.get("pi-01"), before);
  assert.equal(fleet.refused, bad.length);
  assert.equal(take(fleet, "edge/v1/pi-02/health", encode("{"), 3), undefined);
  assert.equal(fleet.nodes.size, 1);
});

test("fields of other types are null, and texts have an end", () => {
  const fleet = emptyFleet();
  const odd = { v: 1, state: "x".repeat(5000), images: ["a", 1, null], hold: { since: 12, to: {} }, operation: [], culprit: "no", reconciled_at: "soon" };
  take(fleet, "edge/v1/pi-01/app/shop", encode(odd), 1);
  const read = fleet.nodes.get("pi-01")?.applications.get("shop");
  assert.equal(read?.state.length, 2049);
  assert.deepEqual(read?.images, ["a"]);
  assert.deepEqual(read?.hold, { mode: "unknown", from: null, to: null, command: null, reason: null, since: null });
  assert.deepEqual([read?.operation, read?.culprit, read?.reconciled], [null, null, null]);
  take(fleet, "edge/v1/pi-01/health", encode({ v: 1, status: "fine", temperature_celsius: "hot", memory: { total_bytes: 4, available_bytes: 1 } }), 2);
  const health = fleet.nodes.get("pi-01")?.health;
  assert.deepEqual([health?.status, health?.temperature, health?.memory, health?.cpu], ["unknown", null, 0.75, null]);
});

test("events are told once and newest first, of the node and of the fleet", () => {
  const fleet = emptyFleet();
  const event = (id: string): Uint8Array =>
    encode({ specversion: "1.0", id, type: "edge.app.state", subject: "shop", time: at, data: { previous: "Syncing", state: "Healthy" } });
  for (const id of ["1", "2", "2", "1"]) take(fleet, "edge/v1/pi-01/event", event(id), 1);
  take(fleet, "edge/v1/pi-02/event", event("1"), 1);
  assert.deepEqual(fleet.nodes.get("pi-01")?.events.map((told) => told.id), ["2", "1"]);
  assert.deepEqual(fleet.events.map((told) => `${told.node} ${told.id} ${told.words}`),
    ["pi-02 1 Syncing → Healthy", "pi-01 2 Syncing → Healthy", "pi-01 1 Syncing → Healthy"]);
  for (let id = 3; id < 400; id++) take(fleet, "edge/v1/pi-01/event", event(String(id)), 1);
  assert.equal(fleet.nodes.get("pi-01")?.events.length, 50);
  assert.equal(fleet.events.length, 200);
});

test("the same messages give the same fleet", () => {
  const play = () => {
    const fleet = emptyFleet();
    take(fleet, "edge/v1/pi-01/presence", encode(PRESENCE), 1);
    take(fleet, "edge/v1/pi-01/app/shop", encode(APPLICATION), 2);
    return fleet;
  };
  assert.deepEqual(play(), play());
});
