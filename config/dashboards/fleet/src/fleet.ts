// What is known of the fleet: one function takes what comes from the broker. It asks no clock and draws nothing.

import { application, event, health, identity, indication, presence } from "./payload.ts";
import type { Application, Health, Identity, Presence, Shown, Told } from "./payload.ts";
import { MAX_BYTES } from "./reading.ts";
import { readResult, type Result } from "./result.ts";
import { parseTopic } from "./topic.ts";

export interface Node {
  readonly name: string;
  readonly presence: Presence | null;
  readonly identity: Identity | null;
  readonly health: Health | null;
  readonly shown: Shown | null;
  readonly applications: ReadonlyMap<string, Application>;
  /** Newest first. */
  readonly events: readonly Told[];
  /** Newest first. */
  readonly results: readonly Result[];
  /** When something came from it last, in milliseconds since 1970. */
  readonly heard: number;
}

export interface Fleet {
  readonly nodes: Map<string, Node>;
  /** Newest first, of all nodes. */
  events: readonly (Told & { node: string })[];
  /** Newest first, of all nodes. */
  results: readonly Result[];
  /** Messages that could not be understood. */
  refused: number;
}

/** More than the largest fleet that the page is tried with, many times over. */
const MAX_NODES = 20_000;
const MAX_APPLICATIONS = 500;
const MAX_EVENTS = 50;
const MAX_RESULTS = 20;
const MAX_FLEET_EVENTS = 200;
const MAX_FLEET_RESULTS = 100;

export function emptyFleet(): Fleet {
  return { nodes: new Map(), events: [], results: [], refused: 0 };
}

/** Takes a message; returns the name of the node that it has changed. `now` is in milliseconds since 1970. */
export function take(fleet: Fleet, topicName: string, payload: Uint8Array, now: number): string | undefined {
  const topic = parseTopic(topicName);
  // What is no topic of an agent's, or the command that somebody sends it.
  if (!topic) return undefined;
  const known = fleet.nodes.get(topic.node);
  const node: Node = { ...(known ?? blank(topic.node)), heard: now };
  const cleared = payload.length === 0;
  // A node that was unknown does not begin with what is taken away, nor with nonsense.
  const changed = cleared ? clear(fleet, node, topic.kind, topic.name) : apply(fleet, node, topic.kind, topic.name, payload);
  if (!changed) {
    if (!cleared) fleet.refused += 1;
    return undefined;
  }
  if (!known && (cleared || fleet.nodes.size >= MAX_NODES)) return undefined;
  if (isGone(changed)) {
    fleet.nodes.delete(topic.node);
    return topic.node;
  }
  fleet.nodes.set(topic.node, changed);
  return topic.node;
}

function blank(name: string): Node {
  return { name, presence: null, identity: null, health: null, shown: null, applications: new Map(), events: [], results: [], heard: 0 };
}

/** Every retained topic of it was withdrawn. */
function isGone(node: Node): boolean {
  return !node.presence && !node.identity && !node.health && !node.shown && node.applications.size === 0 && node.results.length === 0 && node.events.length === 0;
}

function clear(fleet: Fleet, node: Node, kind: string, name: string): Node {
  switch (kind) {
    case "presence":
      // What it said while it was here goes with it.
      return { ...node, presence: null, events: [] };
    case "identity":
      return { ...node, identity: null };
    case "health":
      return { ...node, health: null };
    case "indication":
      return { ...node, shown: null };
    case "app": {
      const applications = new Map(node.applications);
      applications.delete(name);
      return { ...node, applications };
    }
    case "result":
      fleet.results = others(fleet.results, node.name, name);
      return { ...node, results: others(node.results, node.name, name) };
    default:
      return node;
  }
}

function apply(fleet: Fleet, node: Node, kind: string, name: string, payload: Uint8Array): Node | undefined {
  if (payload.length > MAX_BYTES) return undefined;
  switch (kind) {
    case "presence": {
      const read = presence(payload);
      return read && { ...node, presence: read };
    }
    case "identity": {
      const read = identity(payload);
      return read && { ...node, identity: read };
    }
    case "health": {
      const read = health(payload);
      return read && { ...node, health: read };
    }
    case "indication": {
      const read = indication(payload);
      return read && { ...node, shown: read };
    }
    case "app":
      return withApplication(node, name, payload);
    case "event":
      return withEvent(fleet, node, payload);
    default:
      return withResult(fleet, node, name, payload);
  }
}

function withApplication(node: Node, name: string, payload: Uint8Array): Node | undefined {
  const read = application(payload);
  if (!read || (!node.applications.has(name) && node.applications.size >= MAX_APPLICATIONS)) return undefined;
  return { ...node, applications: new Map(node.applications).set(name, read) };
}

function withEvent(fleet: Fleet, node: Node, payload: Uint8Array): Node | undefined {
  const read = event(payload);
  if (!read) return undefined;
  // What was sent when a connection broke is sent again.
  if (node.events.some((known) => known.id === read.id)) return node;
  const told = { ...read, node: node.name };
  fleet.events = [told, ...fleet.events].slice(0, MAX_FLEET_EVENTS);
  return { ...node, events: [read, ...node.events].slice(0, MAX_EVENTS) };
}

function withResult(fleet: Fleet, node: Node, command: string, payload: Uint8Array): Node | undefined {
  const read = readResult(node.name, command, payload);
  if (!read) return undefined;
  fleet.results = newestFirst([read, ...others(fleet.results, node.name, command)]).slice(0, MAX_FLEET_RESULTS);
  return { ...node, results: newestFirst([read, ...others(node.results, node.name, command)]).slice(0, MAX_RESULTS) };
}

function others(results: readonly Result[], node: string, command: string): Result[] {
  return results.filter((result) => result.node !== node || result.command !== command);
}

/** The retained ones of a whole fleet come in any order. */
function newestFirst(results: Result[]): Result[] {
  return results.sort((a, b) => (b.says.at ?? 0) - (a.says.at ?? 0));
}
