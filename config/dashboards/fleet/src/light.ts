// What an LED shows at a moment. The rhythms are those of the agent's own table: indications.json is made by
// `cargo run --example hardware_pages`, and a test holds it against the agent.

import table from "./indications.json";

export interface Indication {
  name: string;
  meaning: string;
  /** Milliseconds of a breath, on an LED that dims. */
  breath: number | null;
  /** Colour or dark, and milliseconds; once round. A steady light has one step. */
  steps: [string | null, number][];
}

export interface Light {
  colour: string | null;
  /** From 0, dark, to 1. */
  level: number;
}

const TABLE = new Map<string, Indication>(Object.entries(table as unknown as Record<string, Indication>));

/** Undefined for one that a later agent has and this page does not. */
export function indicationOf(name: string): Indication | undefined {
  return TABLE.get(name);
}

export const isSteady = (indication: Indication): boolean => indication.breath === null && indication.steps.length === 1;

/** The light when the indication has been shown for so many milliseconds. */
export function lightAt(indication: Indication, elapsed: number): Light {
  if (indication.breath !== null) {
    // As the agent breathes: the eye sees brightness by its root, so the wave is squared.
    const wave = (1 - Math.cos((2 * Math.PI * elapsed) / indication.breath)) / 2;
    return { colour: colourOf(indication), level: 0.02 + 0.98 * wave * wave };
  }
  const round = indication.steps.reduce((sum, [, length]) => sum + length, 0);
  let rest = ((elapsed % round) + round) % round;
  for (const [colour, length] of indication.steps) {
    if (rest < length) return { colour, level: colour === null ? 0 : 1 };
    rest -= length;
  }
  return { colour: null, level: 0 };
}

/** The colour of its first flash: for those who do not want to see it blink. */
export function colourOf(indication: Indication): string | null {
  return indication.steps[0]?.[0] ?? null;
}
