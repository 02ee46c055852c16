// The answers of nodes to commands: DSSE envelopes, signed by the node. Reading one believes nothing yet.

import { list, number, object, readJson, text, time } from "./reading.ts";

export interface Result {
  /** From the topic. */
  node: string;
  command: string;
  /** From the payload; forged, for all that is known before it is verified. */
  says: Says;
  /** What was signed. */
  message: Uint8Array;
  signatures: Uint8Array[];
}

export interface Says {
  node: string | null;
  command: string | null;
  state: string;
  reason: string | null;
  message: string;
  application: string | null;
  revision: string | null;
  n: number;
  at: number | null;
}

const TYPE = "application/vnd.edge-agent.result.v1+json";
const MAX_ENVELOPE = 8_192;
const MAX_PAYLOAD = 4_096;
const MAX_SIGNATURES = 4;

/** Undefined for what is no result within the limits. */
export function readResult(node: string, command: string, bytes: Uint8Array): Result | undefined {
  if (bytes.length > MAX_ENVELOPE) return undefined;
  const envelope = readJson(bytes);
  if (!envelope || envelope["payloadType"] !== TYPE) return undefined;
  const payload = fromBase64(envelope["payload"]);
  const given = envelope["signatures"];
  if (!payload || payload.length > MAX_PAYLOAD || !Array.isArray(given) || given.length > MAX_SIGNATURES) return undefined;
  const signatures = list(given, (entry) => fromBase64(object(entry)?.["sig"]));
  const says = readPayload(payload);
  if (!says || signatures.length === 0) return undefined;
  return { node, command, says, message: signed(payload), signatures };
}

function readPayload(payload: Uint8Array): Says | undefined {
  const fields = readJson(payload);
  const state = text(fields?.["state"]);
  if (!fields || fields["v"] !== 1 || state === null) return undefined;
  return {
    node: text(fields["node"]),
    command: text(fields["command"]),
    state,
    reason: text(fields["reason"]),
    message: text(fields["message"]) ?? "",
    application: text(fields["application"]),
    revision: text(fields["revision"]),
    n: number(fields["n"]) ?? 0,
    at: time(fields["at"]),
  };
}

/** The pre-authentication encoding of DSSE: both lengths stand before what they are of. */
function signed(payload: Uint8Array): Uint8Array {
  const head = new TextEncoder().encode(`DSSEv1 ${TYPE.length} ${TYPE} ${payload.length} `);
  const message = new Uint8Array(head.length + payload.length);
  message.set(head);
  message.set(payload, head.length);
  return message;
}

/** Either alphabet, with or without padding, as DSSE asks of a receiver. */
export function fromBase64(value: unknown): Uint8Array | undefined {
  if (typeof value !== "string" || !/^(?:[A-Za-z0-9+/]*|[A-Za-z0-9_-]*)={0,2}$/.test(value)) return undefined;
  try {
    return Uint8Array.from(atob(value.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
  } catch {
    return undefined;
  }
}
