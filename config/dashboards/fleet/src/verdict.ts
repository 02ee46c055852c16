// Whether a node has said what stands in its name.

import { verifyAsync } from "@noble/ed25519";

import { fromBase64, type Result } from "./result.ts";
import { isNode } from "./topic.ts";

export type Verdict =
  /** By the key that the viewer gave for this node. */
  | "verified"
  /** By the key in the node's topic `identity`: whoever owns the broker could have put another there. */
  | "as_told"
  | "forged"
  | "no_key"
  /** The browser keeps its cryptography from a page that came without TLS. */
  | "no_crypto";

/** The public keys of the nodes, as the viewer gives them; base64 of 32 bytes. */
export type Keys = ReadonlyMap<string, string>;

const KEY_BYTES = 32;
const MAX_TEXT = 2_000_000;

/** Judges a result by the viewer's key of its node or, without one, by `told`, which the node's topic says. */
export async function judge(result: Result, keys: Keys, told: string | null): Promise<Verdict> {
  const given = keys.get(result.node);
  const key = fromBase64(given ?? told);
  if (key?.length !== KEY_BYTES) return "no_key";
  // A result of another node, or of another command, that somebody has put here.
  if (result.says.node !== result.node || result.says.command !== result.command) return "forged";
  if (globalThis.crypto?.subtle === undefined) return "no_crypto";
  for (const signature of result.signatures) {
    if (await holds(signature, result.message, key)) return given === undefined ? "as_told" : "verified";
  }
  return "forged";
}

async function holds(signature: Uint8Array, message: Uint8Array, key: Uint8Array): Promise<boolean> {
  try {
    return await verifyAsync(signature, message, key, { zip215: false });
  } catch {
    // No point on the curve, or not 64 bytes.
    return false;
  }
}

/** What the viewer pastes: `node=key`, separated by lines or commas, as for the Drone plugin. */
export function readKeys(pasted: string): { keys: Map<string, string>; faults: string[] } {
  const keys = new Map<string, string>();
  const faults: string[] = [];
  for (const entry of pasted.slice(0, MAX_TEXT).split(/[\n,]/)) {
    const line = entry.trim();
    if (line === "" || line.startsWith("#")) continue;
    const at = line.indexOf("=");
    const [node, key] = [line.slice(0, at).trim(), line.slice(at + 1).trim()];
    if (at > 0 && isNode(node) && fromBase64(key)?.length === KEY_BYTES) keys.set(node, key);
    else faults.push(line.slice(0, 80));
  }
  return { keys, faults };
}
