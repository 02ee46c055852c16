// Which nodes are shown, in which order, and what is said of all of them. Pure.

import type { Fleet, Node } from "./fleet.ts";
import { rank, type Tone, toneOfState, toneOfStatus, worst } from "./words.ts";

export const ORDERS = ["urgency", "name", "applications", "health", "report"] as const;
export type Order = (typeof ORDERS)[number];
export const GROUPS = ["all", "attention", "offline", "held", "moving", "well"] as const;
export type Group = (typeof GROUPS)[number];

export interface Choice {
  /** Words that all must be found in the node. */
  words: string;
  group: Group;
  order: Order;
  descending: boolean;
}

export const isHere = (node: Node): boolean => node.presence?.online === true;
export const isHeld = (node: Node): boolean => [...node.applications.values()].some((application) => application.hold !== null);

/** When it told of itself last, in milliseconds since 1970. */
export const reported = (node: Node): number => node.health?.at ?? node.heard;

export function applicationsTone(node: Node): Tone {
  return worst([...node.applications.values()].map((application) => toneOfState(application.state)));
}

/** What a person is to look at first. Of a node that is gone nothing else is known. */
export function toneOf(node: Node): Tone {
  if (node.presence && !node.presence.online) return "bad";
  const health = node.health ? toneOfStatus(node.health.status) : "idle";
  return worst([health, applicationsTone(node), isHere(node) ? "ok" : "idle"]);
}

function isIn(group: Group, node: Node): boolean {
  switch (group) {
    case "all":
      return true;
    case "offline":
      return !isHere(node);
    case "held":
      return isHeld(node);
    case "moving":
      return applicationsTone(node) === "busy";
    case "well":
      return toneOf(node) === "ok";
    case "attention":
      return ["bad", "warn"].includes(toneOf(node));
  }
}

/** Everything by which somebody may look for it, in lower case. */
function haystack(node: Node): string {
  const applications = [...node.applications].map(([name, application]) => `${name} ${application.state} ${application.revision ?? ""}`);
  const reasons = node.health?.reasons.map((reason) => reason.check) ?? [];
  const parts = [node.name, node.identity?.model, node.identity?.agent, node.health?.status, node.shown?.indication, ...reasons, ...applications];
  return parts.join(" ").toLowerCase();
}

const byName = (a: Node, b: Node): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

function compare(order: Order): (a: Node, b: Node) => number {
  const ranked = (of: (node: Node) => number) => (a: Node, b: Node) => of(a) - of(b) || byName(a, b);
  switch (order) {
    case "name":
      return byName;
    case "urgency":
      return ranked((node) => rank(toneOf(node)));
    case "applications":
      return ranked((node) => rank(applicationsTone(node)));
    case "health":
      return ranked((node) => rank(node.health ? toneOfStatus(node.health.status) : "idle"));
    case "report":
      return ranked((node) => -reported(node));
  }
}

export function choose(fleet: Fleet, choice: Choice): Node[] {
  const words = choice.words.toLowerCase().split(/\s+/).filter((word) => word !== "");
  const found = [...fleet.nodes.values()].filter((node) => {
    if (!isIn(choice.group, node)) return false;
    if (words.length === 0) return true;
    const text = haystack(node);
    return words.every((word) => text.includes(word));
  });
  found.sort(compare(choice.order));
  return choice.descending ? found.reverse() : found;
}

/** How many nodes each group has. */
export function count(fleet: Fleet): Record<Group, number> {
  const counts: Record<Group, number> = { all: 0, attention: 0, offline: 0, held: 0, moving: 0, well: 0 };
  for (const node of fleet.nodes.values()) {
    for (const group of GROUPS) if (isIn(group, node)) counts[group] += 1;
  }
  return counts;
}
