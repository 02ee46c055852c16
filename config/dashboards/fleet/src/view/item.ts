// A node as a row of the table and as a tile.

import { applicationsTone, isHere, reported, toneOf } from "../choose.ts";
import type { Node } from "../fleet.ts";
import { indicationOf } from "../light.ts";
import type { Application } from "../payload.ts";
import { rank, shortRevision, span, spaced, type Tone, toneOfState, toneOfStatus } from "../words.ts";
import { el, set, setBadge, write } from "./element.ts";
import { forget, lamp, light } from "./lamp.ts";
import type { Item } from "./window.ts";

/** The agent tells of its health every 5 minutes at the latest, unless it is set otherwise. */
const LATE_MS = 15 * 60_000;
const SHOWN_APPLICATIONS = 2;

/** Where its link goes. */
export type Address = (node: string) => string;

interface Parts {
  lamp: HTMLElement;
  says: HTMLElement;
  name: HTMLAnchorElement;
  model: HTMLElement;
  presence: HTMLElement;
  health: HTMLElement;
  reasons: HTMLElement;
  applications: HTMLElement;
  report: HTMLElement;
}

function parts(): Parts {
  return {
    lamp: lamp("small"),
    says: el("span", { class: "says" }),
    name: el("a", { class: "name" }),
    model: el("span", { class: "quiet line" }),
    presence: el("span", { class: "badge" }),
    health: el("span", { class: "badge" }),
    reasons: el("span", { class: "quiet line" }),
    applications: el("div", { class: "applications" }),
    report: el("span", { class: "report" }),
  };
}

export function row(address: Address): Item<Node> {
  const p = parts();
  const cell = (...children: HTMLElement[]): HTMLElement => el("div", { role: "cell" }, ...children);
  const element = el("div", { role: "row", class: "row" },
    cell(el("span", { class: "led" }, p.lamp, p.says)), cell(p.name, p.model), cell(p.presence),
    cell(p.health, p.reasons), cell(p.applications), cell(p.report));
  return item(element, p, address, (index) => set(element, "aria-rowindex", String(index + 2)));
}

export function tile(address: Address, total: () => number): Item<Node> {
  const p = parts();
  const face = el("div", { class: "tile" },
    el("div", { class: "led" }, p.lamp, el("div", { class: "who" }, p.name, p.says)),
    el("p", {}, p.presence, " ", p.health), p.reasons, p.applications);
  const element = el("div", { role: "listitem", class: "cell" }, face);
  return item(element, p, address, (index) => {
    set(element, "aria-posinset", String(index + 1));
    set(element, "aria-setsize", String(total()));
  }, face);
}

function item(element: HTMLElement, p: Parts, address: Address, place: (index: number) => void, toned = element): Item<Node> {
  return {
    element,
    focus: p.name,
    update(node, index) {
      place(index);
      set(toned, "data-tone", toneOf(node));
      fill(p, node, address, Date.now());
    },
    remove: () => void forget(p.lamp),
  };
}

function fill(p: Parts, node: Node, address: Address, now: number): void {
  const here = isHere(node);
  write(p.name, node.name);
  set(p.name, "href", address(node.name));
  write(p.model, node.identity?.model ?? "");
  light(p.lamp, node.shown?.indication ?? null, node.shown?.since ?? null, !here);
  write(p.says, node.shown ? (here ? "" : "last: ") + (indicationOf(node.shown.indication)?.name ?? spaced(node.shown.indication)) : "LEDs unknown");
  setBadge(p.presence, ...presenceWords(node));
  setBadge(p.health, node.health ? toneOfStatus(node.health.status) : "idle", node.health?.status ?? "no health yet");
  write(p.reasons, node.health?.reasons.map((reason) => reason.check).join(", ") ?? "");
  fillApplications(p.applications, node, now);
  const age = now - reported(node);
  const late = here && age > LATE_MS;
  write(p.report, (late ? "! " : "") + span(age));
  p.report.classList.toggle("late", late);
  if (late) set(p.report, "title", "It has told nothing of its health for longer than it should.");
}

export function presenceWords({ presence }: Node): [Tone, string] {
  if (!presence) return ["idle", "unknown"];
  if (presence.online) return ["ok", "online"];
  return ["bad", presence.reason === "unknown" ? "offline" : presence.reason];
}

function fillApplications(place: HTMLElement, node: Node, now: number): void {
  const urgency = ([, application]: [string, Application]): number => rank(toneOfState(application.state));
  const sorted = [...node.applications].sort((a, b) => urgency(a) - urgency(b) || a[0].localeCompare(b[0]));
  const lines = sorted.slice(0, SHOWN_APPLICATIONS).map(([name, application]) => ({ tone: toneOfState(application.state), text: line(name, application, now) }));
  const more = sorted.length - lines.length;
  const last = lines.at(-1);
  if (last && more > 0) last.text = `+${more} ${allWell(sorted.slice(SHOWN_APPLICATIONS)) ? "well" : "others"} · ${last.text}`;
  while (place.children.length > lines.length) place.lastElementChild?.remove();
  while (place.children.length < lines.length) place.append(el("span", { class: "badge line" }));
  lines.forEach(({ tone, text }, index) => {
    const badge = place.children[index] as HTMLElement;
    setBadge(badge, tone, text, text);
  });
  set(place, "data-tone", applicationsTone(node));
}

const allWell = (rest: [string, Application][]): boolean => rest.every(([, application]) => application.state === "Healthy");

/** `shop RolledBack 1a2b3c4d · held 2 h · 40 s`: the last is how long ago Argo CD compared it. */
function line(name: string, { state, revision, hold, reconciled }: Application, now: number): string {
  const parts = [`${name} ${state}${revision === null ? "" : ` ${shortRevision(revision)}`}`];
  if (hold) parts.push(hold.since === null ? "held" : `held ${span(now - hold.since)}`);
  if (reconciled !== null) parts.push(span(now - reconciled));
  return parts.join(" · ");
}
