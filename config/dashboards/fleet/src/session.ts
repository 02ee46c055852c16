// What the browser keeps: credentials until the tab is closed, and for longer only what is no secret.

import type { Credentials } from "./connection.ts";
import { readKeys, type Keys } from "./verdict.ts";

const CREDENTIALS = "edge-agent-credentials";
const KEYS = "edge-agent-node-keys";
const THEME = "edge-agent-theme";
const STILL = "edge-agent-still";

export type Theme = "light dark" | "light" | "dark";

export function keptCredentials(): Credentials | null {
  try {
    const kept = JSON.parse(sessionStorage.getItem(CREDENTIALS) ?? "null") as Partial<Credentials> | null;
    return typeof kept?.user === "string" && typeof kept.password === "string" ? { user: kept.user, password: kept.password } : null;
  } catch {
    return null;
  }
}

export function keepCredentials(credentials: Credentials | null): void {
  if (credentials) put(sessionStorage, CREDENTIALS, JSON.stringify(credentials));
  else sessionStorage.removeItem(CREDENTIALS);
}

export const keptKeys = (): Keys => readKeys(localStorage.getItem(KEYS) ?? "").keys;
export const keepKeys = (keys: Keys): void => put(localStorage, KEYS, writeKeys(keys));
export const writeKeys = (keys: Keys): string => [...keys].map(([node, key]) => `${node}=${key}`).join("\n");

export const keptTheme = (): Theme => (["light", "dark"] as const).find((theme) => theme === localStorage.getItem(THEME)) ?? "light dark";
export const keepTheme = (theme: Theme): void => put(localStorage, THEME, theme);

export const keptStill = (): boolean => localStorage.getItem(STILL) === "1";
export const keepStill = (still: boolean): void => put(localStorage, STILL, still ? "1" : "");

/** A browser that keeps nothing does not keep the page from working. */
function put(storage: Storage, name: string, value: string): void {
  try {
    storage.setItem(name, value);
  } catch {
    console.warn(`the browser keeps no ${name}`);
  }
}
