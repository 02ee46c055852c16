import assert from "node:assert/strict";
import { test } from "node:test";

import { choose, type Choice, count, toneOf } from "../src/choose.ts";
import { emptyFleet, type Fleet, take } from "../src/fleet.ts";
import { readPlace, writePlace } from "../src/place.ts";
import { span, worst } from "../src/words.ts";

const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const ALL: Choice = { words: "", group: "all", order: "urgency", descending: false };

function fleetOf(): Fleet {
  const fleet = emptyFleet();
  const put = (node: string, topic: string, fields: object): void => {
    take(fleet, `edge/v1/${node}/${topic}`, encode({ v: 1, ...fields }), fleet.nodes.size);
  };
  for (const [node, online] of [["a-well", true], ["b-gone", false], ["c-hot", true], ["d-held", true], ["e-moving", true]] as const) {
    put(node, "presence", { online });
    put(node, "health", { status: node === "c-hot" ? "critical" : "ok", reasons: node === "c-hot" ? [{ check: "temperature_celsius", status: "critical", message: "hot" }] : [] });
  }
  put("a-well", "app/shop", { state: "Healthy" });
  put("d-held", "app/shop", { state: "RolledBack", hold: { mode: "pin" }, revision: "abc" });
  put("e-moving", "app/shop", { state: "Syncing" });
  return fleet;
}

const names = (choice: Partial<Choice>): string => choose(fleetOf(), { ...ALL, ...choice }).map((node) => node.name[0]).join("");

test("what needs a person is first, and then the name decides", () => {
  assert.equal(names({}), "bcdea");
  assert.equal(names({ descending: true }), "aedcb");
  assert.equal(names({ order: "name" }), "abcde");
  assert.equal(names({ order: "applications" }), "deabc");
  assert.equal(names({ order: "health" }), "cabde");
});

test("nodes are found by every word that they have", () => {
  assert.equal(names({ words: "SHOP rolled" }), "d");
  assert.equal(names({ words: "temperature" }), "c");
  assert.equal(names({ words: " syncing  shop " }), "e");
  assert.equal(names({ words: "shop nothing" }), "");
});

test("groups are counted as they are shown", () => {
  const counts = count(fleetOf());
  assert.deepEqual(counts, { all: 5, attention: 3, offline: 1, held: 1, moving: 1, well: 1 });
  assert.equal(names({ group: "attention" }), "bcd");
  assert.equal(names({ group: "offline" }), "b");
});

test("of a node that only was heard of nothing good is said", () => {
  const fleet = emptyFleet();
  take(fleet, "edge/v1/x/indication", encode({ v: 1, indication: "healthy" }), 1);
  assert.equal(toneOf(fleet.nodes.get("x")!), "idle");
  assert.equal(worst([]), "ok");
});

test("a place comes back from its address", () => {
  for (const hash of ["#/", "#/node/pi-01", "#/?find=shop+a%26b&show=held&by=name&down=1&as=tiles", "#/node/pi.02?as=tiles"]) {
    assert.equal(writePlace(readPlace(hash)), hash);
  }
  for (const hash of ["", "#", "#/node/", "#/node/a%2Fb", "#/node/%", "#/?by=password&show=x", "#/node/<img>"]) {
    assert.equal(writePlace(readPlace(hash)), "#/", hash);
  }
});

test("times are told in their largest unit", () => {
  assert.deepEqual([-5, 59_000, 61_000, 7_200_000, 200_000_000].map(span), ["0 s", "59 s", "1 min", "2 h", "2 days"]);
});
