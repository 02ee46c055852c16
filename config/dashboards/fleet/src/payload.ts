// The payloads of the topics, as far as the page shows them. A value that could not be read is null.

import { bool, type Fields, list, number, object, readJson, readObject, text, time, word } from "./reading.ts";

export interface Presence {
  online: boolean;
  since: number | null;
  reason: "started" | "stopped" | "lost" | "unknown";
}

export interface Identity {
  key: string | null;
  model: string | null;
  os: string | null;
  agent: string | null;
}

export type Status = "ok" | "warning" | "critical" | "unknown";

export interface Reason {
  check: string;
  status: Status;
  message: string;
}

export interface Health {
  at: number | null;
  status: Status;
  reasons: Reason[];
  uptime: number | null;
  cpu: number | null;
  memory: number | null;
  disks: { mount: string; used: number | null; readOnly: boolean }[];
  temperature: number | null;
  undervoltage: boolean | null;
  throttled: boolean | null;
  waiting: number | null;
  dropped: number | null;
}

export interface Application {
  state: string;
  sync: string | null;
  health: string | null;
  revision: string | null;
  images: string[];
  project: string | null;
  operation: { phase: string; message: string | null; at: number | null; retry: number } | null;
  culprit: { kind: string; name: string; message: string } | null;
  hold: { mode: string; from: string | null; to: string | null; command: string | null; reason: string | null; since: number | null } | null;
  reconciled: number | null;
}

export interface Shown {
  indication: string;
  since: number | null;
  leds: string[];
}

export interface Told {
  id: string;
  kind: string;
  subject: string;
  at: number | null;
  /** What is in it, in words. */
  words: string;
}

const STATUS = ["ok", "warning", "critical", "unknown"] as const;

export function presence(bytes: Uint8Array): Presence | undefined {
  const fields = readObject(bytes);
  const online = bool(fields?.["online"]);
  if (!fields || online === null) return undefined;
  return { online, since: time(fields["since"]), reason: word(fields["reason"], ["started", "stopped", "lost", "unknown"]) };
}

export function identity(bytes: Uint8Array): Identity | undefined {
  const fields = readObject(bytes);
  return fields && { key: text(fields["key"]), model: text(fields["model"]), os: text(fields["os"]), agent: text(fields["agent"]) };
}

function reason(value: unknown): Reason | null {
  const fields = object(value);
  const check = text(fields?.["check"]);
  if (!fields || check === null) return null;
  return { check, status: word(fields["status"], STATUS), message: text(fields["message"]) ?? "" };
}

/** The share that is in use; null when one of both is not known. */
function used(total: number | null, available: number | null): number | null {
  return total !== null && available !== null && total > 0 ? Math.min(1, Math.max(0, 1 - available / total)) : null;
}

function disk(value: unknown): Health["disks"][number] | null {
  const fields = object(value);
  const mount = text(fields?.["mount"]);
  if (!fields || mount === null) return null;
  return { mount, used: used(number(fields["total_bytes"]), number(fields["available_bytes"])), readOnly: fields["read_only"] === true };
}

export function health(bytes: Uint8Array): Health | undefined {
  const fields = readObject(bytes);
  if (!fields) return undefined;
  const part = (name: string): Fields => object(fields[name]) ?? {};
  const memory = part("memory");
  const outbox = object(part("agent")["outbox"]) ?? {};
  return {
    at: time(fields["at"]),
    status: word(fields["status"], STATUS),
    reasons: list(fields["reasons"], reason),
    uptime: number(fields["uptime_seconds"]),
    cpu: number(part("cpu")["usage"]),
    memory: used(number(memory["total_bytes"]), number(memory["available_bytes"])),
    disks: list(fields["disks"], disk),
    temperature: number(fields["temperature_celsius"]),
    undervoltage: bool(part("power")["undervoltage"]),
    throttled: bool(part("power")["throttled"]),
    waiting: number(outbox["records"]),
    dropped: number(outbox["dropped"]),
  };
}

function operation(value: unknown): Application["operation"] {
  const fields = object(value);
  const phase = text(fields?.["phase"]);
  if (!fields || phase === null) return null;
  const at = time(fields["finished_at"]) ?? time(fields["started_at"]);
  return { phase, message: text(fields["message"]), at, retry: number(fields["retry"]) ?? 0 };
}

function culprit(value: unknown): Application["culprit"] {
  const fields = object(value);
  const name = text(fields?.["name"]);
  if (!fields || name === null) return null;
  return { kind: text(fields["kind"]) ?? "", name, message: text(fields["message"]) ?? "" };
}

function hold(value: unknown): Application["hold"] {
  const fields = object(value);
  if (!fields) return null;
  const field = (name: string): string | null => text(fields[name]);
  return { mode: field("mode") ?? "unknown", from: field("from"), to: field("to"), command: field("command"), reason: field("reason"), since: time(fields["since"]) };
}

export function application(bytes: Uint8Array): Application | undefined {
  const fields = readObject(bytes);
  const state = text(fields?.["state"]);
  if (!fields || state === null) return undefined;
  return {
    state,
    sync: text(fields["sync"]),
    health: text(fields["health"]),
    revision: text(fields["revision"]),
    images: list(fields["images"], text),
    project: text(fields["project"]),
    operation: operation(fields["operation"]),
    culprit: culprit(fields["culprit"]),
    hold: hold(fields["hold"]),
    reconciled: time(fields["reconciled_at"]),
  };
}

export function indication(bytes: Uint8Array): Shown | undefined {
  const fields = readObject(bytes);
  const name = text(fields?.["indication"]);
  return fields && name !== null ? { indication: name, since: time(fields["since"]), leds: list(fields["leds"], text) } : undefined;
}

/** A CloudEvent. */
export function event(bytes: Uint8Array): Told | undefined {
  const fields = readJson(bytes);
  const id = text(fields?.["id"]);
  const kind = text(fields?.["type"]);
  if (!fields || id === null || kind === null || fields["specversion"] !== "1.0") return undefined;
  return { id, kind, subject: text(fields["subject"]) ?? "", at: time(fields["time"]), words: words(object(fields["data"]) ?? {}) };
}

/** The fields that people look for first, whatever kind of event it is. */
function words(data: Fields): string {
  const [before, after] = [text(data["previous"]), text(data["state"] ?? data["status"])];
  const change = after === null ? null : before === null || before === after ? after : `${before} → ${after}`;
  const link = typeof data["up"] === "boolean" ? (data["up"] ? "up" : "down") : null;
  const dropped = number(data["count"]);
  const parts = [change, link, text(data["cmd"]), dropped === null ? null : `${dropped} times`, text(data["reason"]), text(data["message"])];
  return parts.filter((part) => part !== null && part !== "").join(" · ");
}
