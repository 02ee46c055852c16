// Puts it together: messages change the fleet, and what has changed is drawn, a few times a second at most.

import { connect, type Connection, type Credentials, type Link } from "./connection.ts";
import { emptyFleet, take } from "./fleet.ts";
import { type Place, readPlace, writePlace } from "./place.ts";
import { keepCredentials, keepKeys, keepStill, keepTheme, keptCredentials, keptKeys, keptStill, keptTheme, type Theme } from "./session.ts";
import { detail } from "./view/detail.ts";
import { button, id, set, write } from "./view/element.ts";
import { keepStill as keepLampsStill } from "./view/lamp.ts";
import { overview } from "./view/overview.ts";
import { keysDialog, signIn } from "./view/sign_in.ts";
import { Verdicts } from "./view/told.ts";
import { sized, type Tone } from "./words.ts";

/** The address of a broker elsewhere, or a path on the machine that serves the page; set when it is built. */
declare const BROKER: string;

const DRAW_MS = 250;
const AGES_MS = 5_000;

let fleet = emptyFleet();
let link: Link = { is: "connecting" };
let keys = keptKeys();
let place = readPlace(location.hash);
let connection: Connection | null = null;
let view: { show(): void; close(): void } | null = null;
let scheduled = false;
const verdicts = new Verdicts(keys, schedule);

function brokerUrl(): string {
  const { protocol, host } = location;
  if (BROKER.startsWith("ws")) return BROKER;
  return `${protocol === "https:" ? "wss:" : "ws:"}//${host}${BROKER || "/"}`;
}

function enter(credentials: Credentials): void {
  connection?.close();
  fleet = emptyFleet();
  connection = connect(brokerUrl(), credentials, {
    begun() {
      // Only who was let in is remembered.
      keepCredentials(credentials);
      fleet = { ...emptyFleet(), events: fleet.events };
    },
    message(topic, payload) {
      if (take(fleet, topic, payload, Date.now()) !== undefined) schedule();
    },
    link(now) {
      link = now;
      if (now.is === "refused") leave(`The broker refuses: ${now.reason}`);
      schedule();
    },
  });
  tools();
  open();
}

function leave(fault: string): void {
  connection?.close();
  connection = null;
  keepCredentials(null);
  fleet = emptyFleet();
  view?.close();
  view = null;
  tools();
  id("main").replaceChildren(signIn(fault, enter));
  document.getElementById("user")?.focus();
}

const address = (node: string | null): string => writePlace({ ...place, node });

/** Changes the place; of what is only filtered or sorted no new entry comes into the history. */
function go(next: Place): void {
  const again = next.form !== place.form;
  place = next;
  history.replaceState(null, "", writePlace(place));
  if (again) open();
  draw();
}

/** Opens the view of the place. */
function open(): void {
  if (!connection) return;
  view?.close();
  const { node } = place;
  if (node === null) {
    const all = overview(place, go, address, verdicts);
    view = { show: () => all.show(fleet, place), close: all.close };
    id("main").replaceChildren(all.element);
  } else {
    const one = detail(node, address(null), verdicts);
    view = { show: () => one.show(fleet.nodes.get(node), keys, link.is !== "live" || link.asking), close: one.close };
    id("main").replaceChildren(one.element);
  }
  draw();
}

function schedule(): void {
  if (scheduled) return;
  scheduled = true;
  setTimeout(() => {
    scheduled = false;
    draw();
  }, DRAW_MS);
}

function draw(): void {
  drawLink();
  if (!view) return;
  view.show();
  document.title = place.node === null ? `${sized(fleet.nodes.size, "node")} – edge-agent` : `${place.node} – edge-agent`;
}

function drawLink(): void {
  const [tone, text] = linkWords();
  set(id("link"), "data-tone", tone);
  write(id("link"), text);
  const lost = connection !== null && link.is === "lost";
  id("banner").hidden = !lost;
  write(id("banner"), !lost ? "" : fleet.nodes.size === 0 ? "The broker cannot be reached; trying again." : "Connection lost. This is what was known when it went; trying again.");
  document.body.classList.toggle("lost", lost);
}

function linkWords(): [Tone, string] {
  if (!connection) return ["idle", "not signed in"];
  switch (link.is) {
    case "live":
      return link.asking ? ["busy", "live, still loading"] : ["ok", "live"];
    case "connecting":
      return ["busy", "connecting"];
    default:
      return ["bad", "connection lost"];
  }
}

function tools(): void {
  const still = keptStill();
  const themes: Theme[] = ["light dark", "light", "dark"];
  const theme = keptTheme();
  const names: Record<Theme, string> = { "light dark": "Colours: as the system", light: "Colours: light", dark: "Colours: dark" };
  set(document.documentElement, "data-theme", theme);
  keepLampsStill(still);
  const again = (change: () => void) => (): void => {
    change();
    const label = (document.activeElement as HTMLElement | null)?.dataset["tool"];
    tools();
    if (label) id("tools").querySelector<HTMLElement>(`[data-tool=${label}]`)?.focus();
  };
  const next = themes[(themes.indexOf(theme) + 1) % themes.length] as Theme;
  id("tools").replaceChildren(
    button("Blink", again(() => keepStill(!still)), { "aria-pressed": String(!still), "data-tool": "blink" }),
    button(names[theme], again(() => keepTheme(next)), { "data-tool": "theme" }));
  if (!connection) return;
  id("tools").append(button(keys.size === 0 ? "Node keys" : `Node keys: ${keys.size}`, () => keysDialog(takeKeys)), button("Sign out", () => leave("")));
}

function takeKeys(given: typeof keys): void {
  keys = given;
  keepKeys(keys);
  verdicts.setKeys(keys);
  tools();
  draw();
}

window.addEventListener("hashchange", () => {
  const before = place;
  place = readPlace(location.hash);
  if (place.node !== before.node || place.form !== before.form) {
    open();
    id("main").querySelector<HTMLElement>("h1")?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  draw();
});
setInterval(draw, AGES_MS);

const kept = keptCredentials();
if (kept) enter(kept);
else leave("");
drawLink();
