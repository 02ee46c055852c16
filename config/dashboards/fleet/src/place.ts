// What of the page stands in its address, so that it can be sent to somebody: the node, or the filter and the
// order. Never a credential.

import { type Choice, GROUPS, ORDERS } from "./choose.ts";
import { isNode } from "./topic.ts";

export type Form = "table" | "tiles";

export interface Place {
  node: string | null;
  form: Form;
  choice: Choice;
}

const MAX_WORDS = 200;

/** `#/node/pi-01`, or `#/?find=shop&show=held&by=name&down=1&as=tiles`; what it does not understand is left out. */
export function readPlace(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#/, "").split("?", 2);
  const asked = new URLSearchParams(query);
  const node = path.startsWith("/node/") ? decode(path.slice(6)) : "";
  const one = <T extends string>(name: string, known: readonly T[], otherwise: T): T => known.find((word) => word === asked.get(name)) ?? otherwise;
  return {
    node: isNode(node) ? node : null,
    form: one("as", ["table", "tiles"], "table"),
    choice: {
      words: (asked.get("find") ?? "").slice(0, MAX_WORDS),
      group: one("show", GROUPS, "all"),
      order: one("by", ORDERS, "urgency"),
      descending: asked.get("down") === "1",
    },
  };
}

export function writePlace({ node, form, choice }: Place): string {
  const asked = new URLSearchParams();
  if (choice.words !== "") asked.set("find", choice.words);
  if (choice.group !== "all") asked.set("show", choice.group);
  if (choice.order !== "urgency") asked.set("by", choice.order);
  if (choice.descending) asked.set("down", "1");
  if (form !== "table") asked.set("as", form);
  const query = asked.size === 0 ? "" : `?${asked}`;
  return `#/${node === null ? "" : `node/${encodeURIComponent(node)}`}${query}`;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}
