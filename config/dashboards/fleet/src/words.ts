// How things are called on the page, and their tone. What a later agent says and this page does not know is
// shown as it came.

import type { Verdict } from "./verdict.ts";

export type Tone = "ok" | "warn" | "bad" | "busy" | "idle";
/** A sign beside the colour, for those who do not see colours. */
export const SIGNS: Record<Tone, string> = { ok: "✓", warn: "!", bad: "✕", busy: "↻", idle: "·" };

/** What a person is to look at first. */
const ORDER: readonly Tone[] = ["bad", "warn", "busy", "idle", "ok"];

/** From 0, the most urgent. */
export const rank = (tone: Tone): number => ORDER.indexOf(tone);
/** `ok` of nothing. */
export const worst = (tones: readonly Tone[]): Tone => ORDER.find((tone) => tones.includes(tone)) ?? "ok";

const STATES = new Map<string, Tone>([
  ["Healthy", "ok"], ["Degraded", "bad"], ["Missing", "bad"], ["SyncFailed", "bad"], ["SecurityCheckFailed", "bad"],
  ["Syncing", "busy"], ["Retrying", "busy"], ["Progressing", "busy"], ["Terminating", "busy"], ["Deleting", "busy"],
  ["RolledBack", "warn"], ["OutOfSync", "warn"], ["Suspended", "warn"], ["Unknown", "warn"], ["Offline", "warn"],
]);
const STATUSES = new Map<string, Tone>([["ok", "ok"], ["warning", "warn"], ["critical", "bad"]]);
const RESULTS = new Map<string, Tone>([
  ["accepted", "busy"], ["executing", "busy"], ["succeeded", "ok"], ["failed", "bad"], ["rejected", "bad"], ["timed_out", "bad"],
  ["superseded", "idle"], ["interrupted", "warn"],
]);

export const toneOfState = (state: string): Tone => STATES.get(state) ?? "idle";
export const toneOfStatus = (status: string): Tone => STATUSES.get(status) ?? "idle";
export const toneOfResult = (state: string): Tone => RESULTS.get(state) ?? "idle";

export const VERDICTS: Record<Verdict, { tone: Tone; name: string; meaning: string }> = {
  verified: { tone: "ok", name: "signed by the node", meaning: "The signature is of the key that you gave for this node." },
  as_told: {
    tone: "idle",
    name: "signed, key not yours",
    meaning: "The signature is of the key that the broker tells for this node. Give the node's key yourself to be certain.",
  },
  forged: { tone: "bad", name: "NOT signed by the node", meaning: "Do not believe it: the signature does not hold for this node and this command." },
  no_key: { tone: "warn", name: "not verified", meaning: "No key of this node is known." },
  no_crypto: { tone: "warn", name: "not verified", meaning: "The browser verifies only on pages that come over TLS." },
};

export const spaced = (text: string): string => text.replaceAll("_", " ");

/** A commit, shortened; anything else as it is. */
export const shortRevision = (revision: string): string => (/^[0-9a-f]{40,64}$/.test(revision) ? revision.slice(0, 8) : revision);

export const percent = (share: number): string => `${Math.round(share * 100)} %`;

/** A length of time in milliseconds, in its largest unit that says enough. */
export function span(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 2 * 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}

export const sized = (number: number, one: string, many = `${one}s`): string => `${number} ${number === 1 ? one : many}`;
