// Elements, made of text and never of markup: what a topic says is written by strangers.

import { SIGNS, spaced, type Tone } from "../words.ts";

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | number | boolean | null | undefined>;

export function el<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child): child is Node | string => child instanceof Node || (typeof child === "string" && child !== "")));
  return node;
}

export function button(label: string, press: () => void, attributes: Attributes = {}): HTMLButtonElement {
  const made = el("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", press);
  return made;
}

/** Sets a text only where it is another one, so that a screen reader and a selection are left alone. */
export function write(node: HTMLElement, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

export function set(node: HTMLElement, name: string, value: string): void {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

export function badge(tone: Tone, text: string, title?: string): HTMLElement {
  const made = el("span", { class: "badge" });
  setBadge(made, tone, text, title);
  return made;
}

export function setBadge(node: HTMLElement, tone: Tone, text: string, title = ""): void {
  set(node, "data-tone", tone);
  if (title !== "") set(node, "title", title);
  write(node, `${SIGNS[tone]} ${spaced(text)}`);
}

export function section(title: string, ...body: Child[]): HTMLElement {
  return el("section", { class: "card" }, el("h2", {}, title), ...body);
}

export const id = (name: string): HTMLElement => document.getElementById(name) ?? document.body;
