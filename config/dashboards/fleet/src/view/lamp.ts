// The LEDs of the boards, as they blink now: every lamp that is on the page is set anew at each frame.

import { colourOf, type Indication, indicationOf, isSteady, lightAt } from "../light.ts";
import { el, set } from "./element.ts";

interface Showing {
  indication: Indication | undefined;
  /** When it began, in milliseconds since 1970. */
  since: number;
  /** The node is gone: what its LED does is not known. */
  unknown: boolean;
}

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const lamps = new Map<HTMLElement, Showing>();
let still = false;
let running = false;

export function lamp(kind: "small" | "large"): HTMLElement {
  // What it says stands beside it in words.
  return el("span", { class: `lamp ${kind}`, "aria-hidden": "true" }, el("i"));
}

export function light(node: HTMLElement, indication: string | null, since: number | null, unknown: boolean): void {
  const found = indication === null ? undefined : indicationOf(indication);
  const known = lamps.get(node);
  if (known && known.indication === found && known.since === (since ?? 0) && known.unknown === unknown) return;
  const showing = { indication: found, since: since ?? 0, unknown };
  lamps.set(node, showing);
  node.classList.toggle("unknown", unknown || found === undefined);
  draw(node, showing, Date.now());
  run();
}

/** For a lamp that is taken from the page. */
export const forget = (node: HTMLElement): boolean => lamps.delete(node);

/** Whether the lamps stand still, for whoever does not want to see them blink. */
export function keepStill(on: boolean): void {
  still = on;
  for (const [node, showing] of lamps) draw(node, showing, Date.now());
  run();
}

const blinks = ({ indication, unknown }: Showing): boolean => indication !== undefined && !unknown && !isSteady(indication);
const stands = (): boolean => still || calm.matches;

function run(): void {
  if (running || stands() || ![...lamps.values()].some(blinks)) return;
  running = true;
  requestAnimationFrame(frame);
}

function frame(): void {
  const now = Date.now();
  let any = false;
  for (const [node, showing] of lamps) {
    if (!blinks(showing)) continue;
    any = true;
    draw(node, showing, now);
  }
  running = any && !stands();
  if (running) requestAnimationFrame(frame);
}

function draw(node: HTMLElement, showing: Showing, now: number): void {
  const bulb = node.firstElementChild as HTMLElement;
  const { indication } = showing;
  if (!indication || showing.unknown) {
    setOpacity(bulb, "0");
    return;
  }
  const shown = stands() ? { colour: colourOf(indication), level: 1 } : lightAt(indication, now - showing.since);
  if (shown.colour !== null) set(bulb, "data-colour", shown.colour);
  setOpacity(bulb, shown.level.toFixed(2));
}

function setOpacity(bulb: HTMLElement, opacity: string): void {
  if (bulb.style.opacity !== opacity) bulb.style.opacity = opacity;
}

calm.addEventListener("change", () => keepStill(still));
