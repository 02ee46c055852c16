// One node, whole.

import type { Node } from "../fleet.ts";
import { indicationOf } from "../light.ts";
import type { Application, Health } from "../payload.ts";
import type { Keys } from "../verdict.ts";
import { isHere } from "../choose.ts";
import { percent, shortRevision, sized, span, spaced, toneOfState, toneOfStatus } from "../words.ts";
import { badge, el, section } from "./element.ts";
import { presenceWords } from "./item.ts";
import { forget, lamp, light } from "./lamp.ts";
import { age, eventItem, resultItem, type Verdicts } from "./told.ts";

export interface Detail {
  element: HTMLElement;
  show(node: Node | undefined, keys: Keys, asking: boolean): void;
  close(): void;
}

export function detail(name: string, back: string, verdicts: Verdicts): Detail {
  const bulb = lamp("large");
  const says = el("div", { class: "says" });
  const body = el("div", { class: "cards" });
  const heading = el("h1", { tabindex: -1 }, name);
  const element = el("div", { class: "detail" },
    el("p", {}, el("a", { href: back }, "‹ All nodes")),
    el("div", { class: "hero card" }, bulb, el("div", {}, heading, says)), body);
  return {
    element,
    show(node, keys, asking) {
      if (!node) {
        light(bulb, null, null, true);
        replace(says, says.firstElementChild, el("p", {}, asking ? "Its messages have not come yet." : "The broker has nothing of this node."));
        body.replaceChildren();
        return;
      }
      const now = Date.now();
      const here = isHere(node);
      light(bulb, node.shown?.indication ?? null, node.shown?.since ?? null, !here);
      const words = el("div", {}, ...indicationWords(node, here, now));
      replace(says, says.firstElementChild, words);
      const sections = [applications(node, now), health(node, now), results(node, verdicts, now), events(node, now), about(node, keys)];
      for (const [index, made] of sections.entries()) replace(body, body.children[index] ?? null, made);
    },
    close: () => void forget(bulb),
  };
}

/** Only where it reads otherwise, so that a selection in it survives; what was opened stays open, with its focus. */
function replace(place: HTMLElement, old: Element | null, made: HTMLElement): void {
  if (!old) return place.append(made);
  const before = [...old.querySelectorAll("details")];
  const same = (one: HTMLDetailsElement, other: HTMLDetailsElement): boolean => one.getAttribute("data-key") === other.getAttribute("data-key");
  const details = [...made.querySelectorAll("details")];
  for (const one of details) one.open = before.some((other) => other.open && same(one, other));
  if (old.isEqualNode(made)) return;
  const focused = before.find((one) => one.contains(document.activeElement));
  old.replaceWith(made);
  if (focused) details.find((one) => same(one, focused))?.querySelector("summary")?.focus({ preventScroll: true });
}

function indicationWords(node: Node, here: boolean, now: number): HTMLElement[] {
  const { shown, presence } = node;
  const known = shown && indicationOf(shown.indication);
  const said = shown ? `${known?.name ?? spaced(shown.indication)}: ${known?.meaning ?? "This page does not know this indication."}` : "What its LEDs say is not known.";
  const [tone, word] = presenceWords(node);
  const leds = shown && shown.leds.length > 0 ? `Shown by ${shown.leds.join(", ")}` : "No LED is set up";
  return [
    el("p", { class: "meaning" }, here || !shown ? said : `Last said: ${said}`),
    el("p", {}, badge(tone, word), " ", age(presence?.since ?? null, now, "for "), " · ", leds, " ", shown && here ? age(shown.since, now, "for ") : null),
  ];
}

function applications(node: Node, now: number): HTMLElement {
  const names = [...node.applications].sort(([a], [b]) => a.localeCompare(b));
  const items = names.map(([name, application]) => applicationItem(name, application, now));
  return section("Applications", items.length === 0 ? "None is known." : el("ul", { class: "plain" }, ...items));
}

function applicationItem(name: string, app: Application, now: number): HTMLElement {
  const { operation, culprit, hold } = app;
  const facts = [app.sync, app.health, app.project && `project ${app.project}`].filter((fact) => typeof fact === "string").join(" · ");
  return el("li", {},
    el("h3", {}, name, " ", badge(toneOfState(app.state), app.state), " ", app.revision && el("code", {}, shortRevision(app.revision)), " ", age(app.reconciled, now, "compared ")),
    el("p", { class: "quiet" }, facts),
    hold && el("p", { class: "say" }, el("b", {}, "Held"), ` (${hold.mode}) `, age(hold.since, now, "for "), hold.to && ` on ${shortRevision(hold.to)}`,
      hold.from && `, was on ${shortRevision(hold.from)}`, hold.command ? `, by command ${hold.command}` : ", by the node itself", hold.reason && `: ${hold.reason}`),
    culprit && el("p", { class: "say" }, el("b", {}, `${culprit.kind} ${culprit.name}`), culprit.message && `: ${culprit.message}`),
    operation && el("p", { class: "quiet" }, `Last sync: ${operation.phase}`, operation.retry > 0 && `, ${sized(operation.retry, "retry", "retries")}`, " ", age(operation.at, now),
      toneOfState(app.state) !== "ok" && operation.message !== null && `: ${operation.message}`),
    app.images.length > 0 && el("details", { "data-key": name }, el("summary", {}, sized(app.images.length, "image")), el("ul", {}, ...app.images.map((image) => el("li", {}, el("code", {}, image))))));
}

function health(node: Node, now: number): HTMLElement {
  const read = node.health;
  if (!read) return section("Health", "Nothing is known.");
  const reasons = read.reasons.map((reason) => el("li", {}, badge(toneOfStatus(reason.status), reason.check), " ", reason.message));
  return section("Health", el("p", {}, badge(toneOfStatus(read.status), read.status), " ", age(read.at, now, "told ")),
    reasons.length > 0 && el("ul", { class: "plain" }, ...reasons), el("dl", {}, ...readings(read)));
}

function readings(read: Health): HTMLElement[] {
  const yes = (value: boolean | null, words: string): string | null => (value === null ? null : value ? `${words} now` : "none");
  const rows: [string, string | null][] = [
    ["CPU", read.cpu === null ? null : percent(read.cpu)],
    ["Memory used", read.memory === null ? null : percent(read.memory)],
    ["Temperature", read.temperature === null ? null : `${read.temperature.toFixed(1)} °C`],
    ["Undervoltage", yes(read.undervoltage, "undervoltage")],
    ["Throttling", yes(read.throttled, "throttled")],
    ["Up for", read.uptime === null ? null : span(read.uptime * 1000)],
    ["Outbox", read.waiting === null ? null : `${sized(read.waiting, "event waits", "events wait")}${read.dropped ? `, ${read.dropped} dropped` : ""}`],
    ...read.disks.map((disk): [string, string | null] => [`Disk ${disk.mount}`, `${disk.used === null ? "" : `${percent(disk.used)} used`}${disk.readOnly ? ", read-only" : ""}`]),
  ];
  return rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", { class: value === null ? "quiet" : null }, value ?? "not readable")));
}

function results(node: Node, verdicts: Verdicts, now: number): HTMLElement {
  const items = node.results.map((result) => resultItem(result, verdicts.of(result, node.identity?.key ?? null), null, now));
  return section("Command results", items.length === 0 ? "None within a day." : el("ul", { class: "told" }, ...items));
}

function events(node: Node, now: number): HTMLElement {
  const items = node.events.map((event) => eventItem(event, () => "", now));
  return section("Events", items.length === 0 ? "None since this page was opened." : el("ul", { class: "told" }, ...items));
}

function about(node: Node, keys: Keys): HTMLElement {
  const told = node.identity?.key ?? null;
  const given = keys.get(node.name);
  const parts = [node.identity?.model, node.identity?.os, node.identity?.agent && `edge-agent ${node.identity.agent}`].filter(Boolean).join(" · ");
  const key = given !== undefined && told !== null && given !== told
    ? el("p", { class: "say" }, el("b", {}, "The broker tells another key for this node than you gave."), " Results are held against yours.")
    : el("p", { class: "quiet" }, given === undefined ? "You have given no key for this node. " : "You have given its key. ", told && el("code", {}, told));
  return section("About", el("p", {}, parts || "Nothing is known."), key);
}
