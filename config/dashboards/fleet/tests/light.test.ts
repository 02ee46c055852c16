import assert from "node:assert/strict";
import { test } from "node:test";

import { colourOf, indicationOf, isSteady, lightAt } from "../src/light.ts";

const of = (name: string) => {
  const found = indicationOf(name);
  assert.ok(found, name);
  return found;
};

test("a blink is lit and dark as its table says, round after round", () => {
  const fault = of("fault");
  for (const round of [0, 1800, 18_000_000]) {
    const lit = [0, 149, 150, 399, 400, 549, 550, 1799].map((at) => lightAt(fault, round + at).colour);
    assert.deepEqual(lit, ["magenta", "magenta", null, null, "magenta", "magenta", null, null]);
  }
});

test("colours alternate over two rounds", () => {
  const flashes = [0, 400, 800, 2200, 2600].map((at) => lightAt(of("gate_failed"), at).colour);
  assert.deepEqual(flashes, ["red", "blue", "red", "blue", "red"]);
});

test("a rollout breathes, what is healthy is steady", () => {
  const rollout = of("rolling_out");
  const level = (at: number): number => lightAt(rollout, at).level;
  assert.ok(level(0) < 0.05 && level(0) > 0 && level(1500) > 0.99 && level(750) < level(1000));
  assert.ok(Math.abs(level(400) - level(3400)) < 1e-9);
  assert.ok(!isSteady(rollout) && isSteady(of("healthy")));
  assert.deepEqual(lightAt(of("healthy"), 123_456), { colour: "green", level: 1 });
  assert.equal(colourOf(of("held")), "amber");
});

test("a clock that is behind the node's, and an indication of the future, do no harm", () => {
  assert.equal(lightAt(of("fault"), -1800).colour, "magenta");
  assert.equal(indicationOf("constructor"), undefined);
});
