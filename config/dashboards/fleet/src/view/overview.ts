// The whole fleet: the filter, the nodes as a table or as tiles, and what was told last.

import { type Choice, choose, count, type Group, GROUPS, type Order } from "../choose.ts";
import type { Fleet, Node } from "../fleet.ts";
import type { Form, Place } from "../place.ts";
import { sized } from "../words.ts";
import { button, el, section, set, write } from "./element.ts";
import { row, tile } from "./item.ts";
import { eventItem, resultItem, type Verdicts } from "./told.ts";
import { Window } from "./window.ts";

export interface Overview {
  element: HTMLElement;
  show(fleet: Fleet, place: Place): void;
  close(): void;
}

const ROW = { height: 58 };
const TILE = { height: 186, width: 270 };
const TOLD = 30;
const COLUMNS: [string, Order | null][] = [["LED", "urgency"], ["Node", "name"], ["Presence", null], ["Health", "health"], ["Applications", "applications"], ["Report", "report"]];
const GROUP_NAMES: Record<Group, string> = { all: "All", attention: "Need attention", offline: "Offline", held: "Held", moving: "Rolling out", well: "Well" };

export function overview(place: Place, go: (place: Place) => void, address: (node: string) => string, verdicts: Verdicts): Overview {
  let current = place;
  const change = (choice: Partial<Choice>): void => go({ ...current, choice: { ...current.choice, ...choice } });
  const bar = toolbar(place, change, (form) => go({ ...current, form }));
  const canvas = el("div", { class: "canvas", role: place.form === "table" ? "rowgroup" : "list", "aria-label": "Nodes" });
  const heads = place.form === "table" ? headings(place, change) : null;
  const scroller = el("div", { class: `scroller ${place.form}` }, heads?.element, canvas);
  const list = heads ? el("div", { role: "table", "aria-label": "Nodes", class: "list" }, scroller) : el("div", { class: "list" }, scroller);
  const told = [el("div"), el("div")] as const;
  const empty = el("p", { class: "empty" });
  let total = 0;
  const nodes = new Window<Node>(scroller, canvas, heads ? ROW : TILE, (node) => node.name, () => (heads ? row(address) : tile(address, () => total)));
  const aside = el("aside", { "aria-label": "What was told last" }, section("Recent events", told[0]), section("Command results", told[1]));
  const element = el("div", { class: "overview" }, el("h1", { class: "hidden" }, "All nodes"), bar.element, el("div", { class: "halves" }, list, aside), empty);
  return {
    element,
    show(fleet, place) {
      current = place;
      const found = choose(fleet, place.choice);
      total = found.length;
      bar.show(place, count(fleet), found.length);
      heads?.show(place);
      if (heads) set(list, "aria-rowcount", String(found.length + 1));
      nodes.show(found);
      write(empty, found.length > 0 ? "" : fleet.nodes.size === 0 ? "No node has said anything yet." : "No node is like that.");
      const now = Date.now();
      const key = (node: string): string | null => fleet.nodes.get(node)?.identity?.key ?? null;
      fill(told[0], "None since this page was opened.", fleet.events.slice(0, TOLD).map((event) => eventItem(event, address, now)));
      fill(told[1], "None within a day.", fleet.results.slice(0, TOLD).map((result) => resultItem(result, verdicts.of(result, key(result.node)), address, now)));
    },
    close: () => nodes.close(),
  };
}

/** Drawn again only when it reads otherwise, so that a focus in it survives. */
function fill(place: HTMLElement, nothing: string, items: HTMLElement[]): void {
  const list = items.length === 0 ? el("p", { class: "quiet" }, nothing) : el("ul", { class: "told" }, ...items);
  const there = place.firstElementChild;
  if (there?.isEqualNode(list)) return;
  const focused = [...place.querySelectorAll("a")].indexOf(document.activeElement as HTMLAnchorElement);
  place.replaceChildren(list);
  if (focused >= 0) place.querySelectorAll("a")[focused]?.focus({ preventScroll: true });
}

function toolbar(place: Place, change: (choice: Partial<Choice>) => void, setForm: (form: Form) => void) {
  const find = el("input", { type: "search", id: "find", placeholder: "Name, application, state, check …", autocomplete: "off", spellcheck: "false", "aria-label": "Find nodes" });
  find.value = place.choice.words;
  find.addEventListener("input", () => change({ words: find.value }));
  const groups = new Map(GROUPS.map((group) => [group, button("", () => change({ group }), { class: "group" })]));
  const forms = new Map((["table", "tiles"] as const).map((form) => [form, button(form === "table" ? "Table" : "Tiles", () => setForm(form))]));
  const found = el("p", { role: "status", class: "quiet" });
  const element = el("div", { class: "toolbar" }, find,
    el("div", { role: "group", "aria-label": "Which nodes", class: "choice" }, ...groups.values()),
    el("div", { role: "group", "aria-label": "How they are shown", class: "choice" }, ...forms.values()), found);
  return {
    element,
    show({ choice, form }: Place, counts: Record<Group, number>, number: number) {
      if (find.value !== choice.words && document.activeElement !== find) find.value = choice.words;
      for (const [group, made] of groups) {
        write(made, `${GROUP_NAMES[group]} ${counts[group]}`);
        set(made, "aria-pressed", String(group === choice.group));
      }
      for (const [name, made] of forms) set(made, "aria-pressed", String(name === form));
      write(found, sized(number, "node"));
    },
  };
}

function headings(place: Place, change: (choice: Partial<Choice>) => void) {
  let choice = place.choice;
  const cells = COLUMNS.map(([name, order]) => {
    if (order === null) return el("div", { role: "columnheader" }, name);
    const press = (): void => change({ order, descending: choice.order === order && !choice.descending });
    return el("div", { role: "columnheader" }, button(name, press));
  });
  const element = el("div", { role: "rowgroup", class: "heads" }, el("div", { role: "row", class: "row", "aria-rowindex": 1 }, ...cells));
  return {
    element,
    show(place: Place) {
      choice = place.choice;
      COLUMNS.forEach(([, order], index) => {
        const cell = cells[index];
        if (cell && order !== null) set(cell, "aria-sort", order !== choice.order ? "none" : choice.descending ? "descending" : "ascending");
      });
    },
  };
}
