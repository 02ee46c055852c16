// What comes from the broker is held against its limits here, before anything else sees it. Whoever writes
// such a message may be anybody that the broker lets write, and a message of an Application is by strangers.

/** The agent's largest message has 64 KiB. */
export const MAX_BYTES = 65_536;
const MAX_TEXT = 2_048;
const MAX_LIST = 200;

export type Fields = Record<string, unknown>;

const decoder = new TextDecoder("utf-8", { fatal: true });

/** An object of version 1, or undefined: too long, no JSON, another version. */
export function readObject(bytes: Uint8Array): Fields | undefined {
  const fields = readJson(bytes);
  return fields?.["v"] === 1 ? fields : undefined;
}

export function readJson(bytes: Uint8Array): Fields | undefined {
  if (bytes.length > MAX_BYTES) return undefined;
  try {
    return object(JSON.parse(decoder.decode(bytes)));
  } catch {
    return undefined;
  }
}

export function object(value: unknown): Fields | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

/** Null where there is none; cut where it is too long. */
export function text(value: unknown): string | null {
  if (typeof value !== "string") return null;
  return value.length > MAX_TEXT ? value.slice(0, MAX_TEXT) + "…" : value;
}

export function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

export function bool(value: unknown): boolean | null {
  return typeof value === "boolean" ? value : null;
}

/** Milliseconds since 1970. */
export function time(value: unknown): number | null {
  if (typeof value !== "string" || value.length > 40) return null;
  return number(Date.parse(value));
}

/** What `one` makes something of. */
export function list<T>(value: unknown, one: (value: unknown) => T | null | undefined): T[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, MAX_LIST).flatMap((entry) => one(entry) ?? []);
}

/** One of these words, or the last of them. */
export function word<T extends string>(value: unknown, words: readonly [...T[], T]): T {
  return words.find((known) => known === value) ?? (words.at(-1) as T);
}
