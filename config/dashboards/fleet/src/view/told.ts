// Lists of what was told: events, and the answers to commands with what their signatures are worth.

import type { Told } from "../payload.ts";
import type { Result } from "../result.ts";
import { judge, type Keys, type Verdict } from "../verdict.ts";
import { shortRevision, span, toneOfResult, VERDICTS } from "../words.ts";
import { badge, el } from "./element.ts";

export function age(at: number | null, now: number, before = ""): HTMLElement | null {
  if (at === null) return null;
  const date = new Date(at);
  // A time that no calendar has.
  if (Number.isNaN(date.getTime())) return null;
  const text = before.endsWith("for ") ? span(now - at) : now - at < 5000 ? "just now" : `${span(now - at)} ago`;
  return el("time", { datetime: date.toISOString(), title: date.toLocaleString(), class: "quiet" }, before + text);
}

export function eventItem(event: Told & { node?: string }, address: (node: string) => string, now: number): HTMLElement {
  const { node } = event;
  return el("li", {},
    node === undefined ? null : el("a", { href: address(node) }, node),
    el("b", {}, event.kind.replace(/^edge\./, "")), event.subject, el("span", { class: "words" }, event.words), age(event.at, now));
}

export function resultItem(result: Result, verdict: Verdict | null, address: ((node: string) => string) | null, now: number): HTMLElement {
  const { says } = result;
  const worth = verdict === null ? null : VERDICTS[verdict];
  const revision = says.revision === null ? null : el("code", {}, shortRevision(says.revision));
  return el("li", { class: verdict === "forged" ? "forged" : null },
    address && el("a", { href: address(result.node) }, result.node),
    badge(toneOfResult(says.state), says.state), says.application, revision,
    worth ? badge(worth.tone, worth.name, worth.meaning) : badge("idle", "being verified"),
    el("span", { class: "words" }, [says.reason, says.message].filter(Boolean).join(": ")),
    el("code", { class: "quiet" }, result.command), age(says.at, now));
}

/** What signatures are worth, found out once and remembered for as long as keys do not change. */
export class Verdicts {
  private known = new WeakMap<Result, { by: string; verdict: Verdict | null }>();

  constructor(
    private keys: Keys,
    private readonly found: () => void,
  ) {}

  setKeys(keys: Keys): void {
    this.keys = keys;
    this.known = new WeakMap();
  }

  /** Null while it is being found out; `found` is called then. */
  of(result: Result, told: string | null): Verdict | null {
    const by = told ?? "";
    const known = this.known.get(result);
    if (known?.by === by) return known.verdict;
    const entry: { by: string; verdict: Verdict | null } = { by, verdict: null };
    this.known.set(result, entry);
    void judge(result, this.keys, told).then((verdict) => {
      entry.verdict = verdict;
      this.found();
    });
    return null;
  }
}
