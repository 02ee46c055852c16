"use strict";
// Everything that comes from the agent is put into the page as text, never as markup: a message of
// an Application is written by strangers.

const COLOURS = { red: "#ff4136", green: "#2ecc5f", blue: "#3f8cff", amber: "#ffb224", magenta: "#ee4fe0", white: "#f4f7ff" };

// The colours of the flashes in turn, and milliseconds on and off in turn; nothing: steady. A test
// reads this as JSON and holds it against what the LEDs are given.
const RHYTHMS = {
  "countdown": [["white"], [80, 80, 80, 80, 80, 80, 80, 80, 80, 280, 80, 80, 80, 80, 80, 80, 80, 440, 80, 80, 80, 80, 80, 600, 80, 80, 80, 760, 80, 920]],
  "refused": [["red"], [600, 300, 600, 300, 600, 1600]],
  "identify": [["white"], [100, 100]],
  "fault": [["magenta"], [150, 250, 150, 1250]],
  "gate_failed": [["red", "blue"], [150, 250, 150, 250, 150, 1250]],
  "deploy_failed": [["red"], [250, 250]],
  "rolling_out": [["blue"], [500, 500]],
  "node_critical": [["red"], [1800, 200]],
  "held": [["amber"], [150, 3850]],
  "offline": [["amber"], [1000, 1000]],
  "node_warning": [["amber", "green"], [150, 250, 150, 250, 150, 250, 150, 1250]],
  "out_of_sync": [["green"], [100, 900]],
  "healthy": [["green"], []]
};
// What an LED that can dim does instead, in milliseconds a breath.
const BREATHS = { rolling_out: 3000 };

// Name, tone, meaning, and the rhythm in words of a colour LED and of a single one.
const INDICATIONS = {
  countdown: ["Countdown", "busy", "The button is held; after 5 s the last change is rolled back.", "white, 5 short, then 4, 3, 2, 1", "5 short, then 4, 3, 2, 1"],
  refused: ["Refused", "bad", "What the button was held for cannot be done.", "red, 3 long, pause", "3 long, pause"],
  identify: ["Identify", "busy", "A person asked this board to show itself.", "white, 5 flashes a second", "5 flashes a second"],
  fault: ["Agent impaired", "bad", "The agent itself is impaired.", "magenta, 2 short, pause", "2 short, pause"],
  gate_failed: ["Security check failed", "bad", "A security check stopped a deploy.", "red and blue in turn, 3 short, pause", "3 short, pause"],
  deploy_failed: ["Deploy failed", "bad", "A deploy failed, or what runs is degraded or missing.", "red, 2 flashes a second", "2 flashes a second"],
  rolling_out: ["Rolling out", "busy", "A deploy or a command is under way.", "blue, breathing", "breathing, or even once a second where it cannot dim"],
  node_critical: ["Node critical", "bad", "The health of this node is critical.", "red, long on, short gap", "long on, short gap"],
  held: ["Rollback held", "warn", "A rollback is being held.", "amber, 1 short, long pause", "1 short, long pause"],
  offline: ["Offline", "warn", "The broker or the API server cannot be reached.", "amber, 1 s on, 1 s off", "1 s on, 1 s off"],
  node_warning: ["Node warning", "warn", "The health of this node is a warning.", "amber and green in turn, 4 short, pause", "4 short, pause"],
  out_of_sync: ["Out of sync", "warn", "The cluster differs from git, or its state is unknown.", "green, a wink each second", "a wink each second"],
  healthy: ["Healthy", "ok", "All is well.", "green, steady", "steady"],
};
const STATES = {
  Healthy: ["ok", "✓"], Degraded: ["bad", "✕"], Missing: ["bad", "✕"], SyncFailed: ["bad", "✕"], SecurityCheckFailed: ["bad", "✕"],
  Syncing: ["busy", "↻"], Retrying: ["busy", "↻"], Progressing: ["busy", "↻"], Terminating: ["busy", "↻"], Deleting: ["busy", "↻"],
  RolledBack: ["warn", "‖"], OutOfSync: ["warn", "≠"], Suspended: ["warn", "‖"], Unknown: ["warn", "?"], Offline: ["warn", "?"],
};
const RESULTS = {
  accepted: ["busy", "…"], executing: ["busy", "↻"], succeeded: ["ok", "✓"], failed: ["bad", "✕"], rejected: ["bad", "✕"],
  timed_out: ["bad", "✕"], superseded: ["idle", "–"], interrupted: ["warn", "?"],
};
const LINKS = { up: ["ok", "✓"], down: ["bad", "✕"], connecting: ["busy", "↻"], disabled: ["idle", "–"] };
const STATUS = { ok: ["ok", "✓"], warning: ["warn", "!"], critical: ["bad", "✕"] };
const STALE_SECONDS = 60;

const id = (name) => document.getElementById(name);
const SVG = "http://www.w3.org/2000/svg";
function el(tag, attributes, ...children) {
  const node = tag === "svg" || tag === "rect" ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) if (value != null) node.setAttribute(name, value);
  node.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return node;
}
const own = (table, key, otherwise) => (Object.hasOwn(table, key) ? table[key] : otherwise);
function badge(table, key) {
  const [tone, sign] = own(table, key, ["idle", "·"]);
  return el("span", { class: "badge", "data-tone": tone }, el("span", { "aria-hidden": "true" }, sign + " "), String(key).replaceAll("_", " "));
}
const say = (tone, ...children) => el("p", { class: "say", "data-tone": tone }, children);
const fact = (name, ...value) => el("span", null, name + " ", el("b", null, value));
const code = (text) => el("code", null, text);
const hash = (revision) => /^[0-9a-f]{40,64}$/.test(revision ?? "") ? revision.slice(0, 8) : revision;
const image = (name) => name.replace(/@sha256:([0-9a-f]{12})[0-9a-f]+$/, "@sha256:$1…");
const percent = (share) => Math.round(share * 100) + " %";
const sized = (count, one, many = one + "s") => count + " " + (count === 1 ? one : many);
function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; count >= 1024 && unit < units.length - 1; unit++) count /= 1024;
  return (unit === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)) + " " + units[unit];
}
function span(seconds) {
  if (seconds < 60) return Math.floor(seconds) + " s";
  if (seconds < 3600) return Math.floor(seconds / 60) + " min";
  if (seconds < 2 * 86400) return Math.floor(seconds / 3600) + " h " + Math.floor(seconds % 3600 / 60) + " min";
  return Math.floor(seconds / 86400) + " days";
}

// The agent's time, so that a wrong clock on this side does no harm.
let taken = null, received = 0;
const now = () => taken + (performance.now() - received);
function ago(at, before = "") {
  const node = el("time", { datetime: at, title: at, "data-before": before });
  age(node);
  return node;
}
function age(node) {
  const seconds = Math.max(0, (now() - Date.parse(node.dateTime)) / 1000);
  const { before } = node.dataset;
  if (Number.isNaN(seconds)) node.textContent = before + "?";
  else if (before.endsWith("for ")) node.textContent = before + span(seconds);
  else node.textContent = before + (seconds < 5 ? "just now" : span(seconds) + " ago");
}

const calm = matchMedia("(prefers-reduced-motion: reduce)");
// What a lamp shows one after the other, as [colour or null, ms]; round as often as there are colours.
function frames([colours, segments]) {
  if (segments.length === 0) return [[COLOURS[colours[0]], 4000]];
  const flashes = segments.length / 2;
  return colours.flatMap((_, round) => segments.map((length, i) =>
    [i % 2 ? null : COLOURS[colours[(round * flashes + i / 2) % colours.length]], length]));
}
// As the LED does it: the eye sees brightness by its root, so the wave is squared.
const breath = (part) => 0.02 + 0.98 * ((1 - Math.cos(2 * Math.PI * part)) / 2) ** 2;
const BREATH_STEPS = 24;

function play(lamp, rhythm, duration) {
  const shown = frames(rhythm);
  lamp.replaceChildren();
  for (const colour of new Set(shown.map((frame) => frame[0]).filter(Boolean))) {
    const light = el("i");
    light.style.background = colour; // For browsers that do not know the next.
    light.style.background = `radial-gradient(circle, ${colour} 35%, color-mix(in srgb, ${colour} 72%, black))`;
    lamp.append(light);
    if (calm.matches || shown.length === 1) continue;
    const steps = [];
    if (duration) {
      for (let n = 0; n <= BREATH_STEPS; n++) steps.push({ opacity: breath(n / BREATH_STEPS) });
      light.animate(steps, { duration, iterations: Infinity });
      continue;
    }
    const whole = shown.reduce((sum, frame) => sum + frame[1], 0);
    let at = 0;
    for (const [lit, length] of shown) {
      const opacity = lit === colour ? 1 : 0;
      steps.push({ opacity, offset: at / whole }, { opacity, offset: Math.min(1, (at += length) / whole) });
    }
    light.animate(steps, { duration: whole, iterations: Infinity });
  }
}
// Four seconds of the rhythm as a strip, for those who cannot or do not want to watch it.
function strip(rhythm, duration) {
  const svg = el("svg", { viewBox: "0 0 4000 100", preserveAspectRatio: "none", "aria-hidden": "true" });
  const slice = (x, width, fill, opacity) => svg.append(el("rect", { x, y: 0, width, height: 100, fill, opacity }));
  const shown = frames(rhythm);
  if (duration) {
    for (let at = 0; at < 4000; at += 50) slice(at, 54, shown[0][0], breath(at / duration));
    return svg;
  }
  for (let at = 0, i = 0; at < 4000; at += shown[i][1], i = (i + 1) % shown.length) {
    if (shown[i][0]) slice(at, shown[i][1], shown[i][0], 1);
  }
  return svg;
}

// Draws a part again only when what it shows has changed, so that a selection in it survives.
const drawn = new Map();
function draw(name, shown, build) {
  const key = JSON.stringify(shown);
  if (drawn.get(name) === key) return;
  drawn.set(name, key);
  build(shown);
}
function fill(name, aside, ...children) {
  id(name).querySelector(".body").replaceChildren(...children.flat(Infinity).filter(Boolean));
  id(name).querySelector(".aside")?.remove();
  if (aside != null) id(name + "-title").append(el("span", { class: "aside" }, aside));
}

function drawNode({ identity, boot }) {
  document.title = identity.node + " – edge-agent";
  id("node").textContent = identity.node;
  const up = boot && el("span", null, "up ", Object.assign(el("span", { class: "uptime" }), { textContent: span(boot.seconds) }));
  const parts = [identity.model, identity.os, "edge-agent " + identity.agent, up].filter(Boolean);
  id("about").replaceChildren(...parts.flatMap((part, i) => (i ? [" · ", part] : [part])));
  id("key").replaceChildren(...(identity.key ? ["Public key of this node: ", code(identity.key)] : []));
}

function drawIndication({ report }) {
  const { indication } = report;
  const [name, tone, meaning, colourWords, singleWords] = own(INDICATIONS, indication, [indication, "idle", "This page does not know this indication.", "", ""]);
  const colour = own(RHYTHMS, indication, [[], []]);
  const single = [colour[0].length ? ["green"] : [], colour[1]];
  const dims = own(BREATHS, indication);
  id("indication").dataset.tone = tone;
  id("indication-name").textContent = name;
  id("meaning").textContent = meaning;
  play(id("lamp-colour"), colour, dims);
  play(id("lamp-single"), single);
  id("rhythm").replaceChildren(
    el("dt", null, "Colour LED"), el("dd", null, strip(colour, dims), colourWords),
    el("dt", null, "Single LED"), el("dd", null, strip(single), singleWords));
  const leds = report.leds.length ? "Shown by " + report.leds.join(", ") : "No LED is configured";
  id("since").replaceChildren(leds, ago(report.since, " · for "));
  const light = { ok: COLOURS.green, warn: COLOURS.amber, bad: COLOURS.red, busy: COLOURS.blue, idle: "#8a96a5" }[tone];
  id("icon").href = "data:image/svg+xml," + encodeURIComponent(
    `<svg xmlns="${SVG}" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#18202b"/><circle cx="16" cy="16" r="8" fill="${light}"/></svg>`);
}

function drawFaults(faults) {
  const entries = Object.entries(faults);
  id("faults").hidden = entries.length === 0;
  fill("faults", null, entries.map(([part, fault]) => el("div", { class: "item" }, el("h3", null, part), el("p", null, fault))));
}

const urgency = (app) => ["bad", "busy", "warn", "idle", "ok"].indexOf(own(STATES, app.state, ["idle"])[0]);
function drawApplications(applications) {
  const entries = Object.entries(applications).sort(([a, one], [b, other]) => urgency(one) - urgency(other) || a.localeCompare(b));
  const items = entries.map(([name, app]) => {
    const [tone] = own(STATES, app.state, ["idle"]);
    const { operation, culprit, hold } = app;
    return el("article", { class: "item" },
      el("div", { class: "head" }, el("h3", null, name), badge(STATES, app.state), app.reconciled_at && el("span", { class: "push" }, ago(app.reconciled_at, "compared "))),
      el("p", { class: "facts" },
        app.revision && fact("revision", code(hash(app.revision))), fact("sync", app.sync), fact("health", app.health), fact("project", app.project),
        operation && fact("last sync", operation.phase, operation.retry > 0 && `, ${sized(operation.retry, "retry", "retries")}`, (operation.finished_at ?? operation.started_at) && ago(operation.finished_at ?? operation.started_at, ", "))),
      culprit && say(tone === "ok" ? "idle" : tone, el("b", null, `${culprit.kind} ${culprit.namespace ? culprit.namespace + "/" : ""}${culprit.name}`), culprit.message && ": " + culprit.message),
      operation?.message && (!culprit || operation.phase !== "Succeeded") && tone !== "ok" && say("idle", operation.message),
      hold && say("warn", el("b", null, "Held"), ` (${hold.mode})`, hold.since && ago(hold.since, " for "), " on ", code(hash(hold.to)), hold.from && [", was on ", code(hash(hold.from))],
        el("span", { class: "more" }, hold.command ? ["by command ", code(hold.command)] : "by the node itself", ". Give it back to git with the command resume.")),
      app.images.length > 0 && el("details", null, el("summary", null, sized(app.images.length, "image")), el("ul", null, app.images.map((name) => el("li", { title: name }, code(image(name)))))));
  });
  fill("applications", entries.length ? String(entries.length) : null, items.length ? items : el("p", { class: "empty" }, "No Application is known yet."));
}

function drawCommands(commands) {
  const items = commands.map((command) => {
    const [tone] = own(RESULTS, command.state, ["idle"]);
    return el("article", { class: "item" },
      el("div", { class: "head" }, el("h3", null, [command.cmd ?? "not understood", command.application].filter(Boolean).join(" ")), badge(RESULTS, command.state), el("span", { class: "push" }, ago(command.at))),
      command.message && (tone === "bad" || tone === "warn" ? say(tone, command.reason && [el("b", null, code(command.reason)), ": "], command.message) : el("p", null, command.message)),
      el("p", { class: "facts" }, fact("by", command.keys.length ? command.keys.join(", ") : "the node itself"), fact("id", code(command.id))));
  });
  fill("commands", null, items.length ? items : el("p", { class: "empty" }, "None since the agent started."));
}

function reading(name, value, share, tone) {
  const bar = share != null && el("svg", { class: "bar", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true", "data-tone": tone },
    el("rect", { x: 0, y: 0, height: 6, width: Math.max(0, Math.min(100, share * 100)) }));
  return el("div", { class: "reading" }, el("dt", null, name), el("dd", null, value ?? el("span", { class: "quiet" }, "not readable"), bar));
}
const mark = (text) => el("span", { class: "mark", "data-tone": "warn" }, text);
const yes = (value, good, bad) => (value == null ? null : value ? good : mark(bad));
function joined(...parts) {
  const known = parts.filter((part) => part != null && part !== false);
  return known.length ? known.flatMap((part, i) => (i ? [", ", part] : [part])) : null;
}
function drawHealth(health) {
  if (!health) return fill("health", null, el("p", { class: "empty" }, "The first sample has not been taken yet."));
  const { cpu, memory, power, storage, k3s, agent } = health;
  const tone = (check) => {
    const reason = health.reasons.find((reason) => reason.check === check);
    return own(STATUS, reason?.status ?? "ok", ["ok"])[0];
  };
  const used = memory.total_bytes && memory.available_bytes != null ? memory.total_bytes - memory.available_bytes : null;
  const supply = joined(
    power.undervoltage ? mark("undervoltage now") : power.undervoltage_since_boot && mark("undervoltage since boot"),
    power.throttled ? mark("throttled now") : power.throttled_since_boot && mark("throttled since boot"));
  const supplied = power.undervoltage == null && power.throttled == null ? null : "sufficient";
  fill("health", badge(STATUS, health.status),
    el("div", { class: "reasons" }, health.reasons.map((reason) => say(own(STATUS, reason.status, ["idle"])[0], el("b", null, reason.check), ": " + reason.message))),
    el("dl", null,
      reading("CPU", cpu.usage == null ? null : joined(percent(cpu.usage), cpu.load1 != null ? "load " + cpu.load1.toFixed(2) : null, cpu.cores != null ? sized(cpu.cores, "core") : null), cpu.usage, tone("cpu_usage")),
      reading("Temperature", health.temperature_celsius == null ? null : health.temperature_celsius.toFixed(1) + " °C", health.temperature_celsius == null ? null : health.temperature_celsius / 100, tone("temperature_celsius")),
      reading("Memory", used == null ? null : `${bytes(used)} of ${bytes(memory.total_bytes)} used`, used == null ? null : used / memory.total_bytes, tone("memory")),
      health.disks.map((disk) => {
        const full = disk.total_bytes > 0 ? 1 - disk.available_bytes / disk.total_bytes : null;
        return reading("Disk " + disk.mount, `${bytes(disk.available_bytes)} of ${bytes(disk.total_bytes)} free${disk.read_only ? ", read-only" : ""}`, full, tone("disk:" + disk.mount));
      }),
      reading("Power", supply ?? supplied),
      (storage.device || storage.life_used != null) && reading("Storage", joined(storage.device, storage.life_used == null ? "wear not readable" : percent(storage.life_used) + " of its life used"), storage.life_used, tone("storage_life_used")),
      reading("K3s", joined(yes(k3s.service, "service runs", "service down"), yes(k3s.api, "API ready", "API not ready"), yes(k3s.node_ready, "node ready", "node not ready"), k3s.pods == null ? null : sized(k3s.pods, "pod") + (k3s.pods_not_ready ? `, ${k3s.pods_not_ready} not ready` : ""))),
      health.network.map((network) => reading("Net " + network.interface, joined(yes(network.up, "up", "down"), "↓ " + bytes(network.rx_bytes), "↑ " + bytes(network.tx_bytes)))),
      health.reboot_required && reading("Reboot", mark("an update waits for it")),
      reading("Clock", yes(health.clock.synchronized, "synchronized", "not synchronized")),
      reading("Agent", joined(agent.rss_bytes == null ? null : bytes(agent.rss_bytes) + " memory", agent.cpu_seconds == null ? null : span(agent.cpu_seconds) + " CPU time"))));
}

function drawLinks({ links, outbox }) {
  const names = { broker: "MQTT broker", cluster: "Kubernetes API" };
  const items = Object.entries(links).map(([name, link]) => el("div", { class: "item" },
    el("div", { class: "head" }, el("h3", null, own(names, name, name)), badge(LINKS, link.state), el("span", { class: "push" }, ago(link.since, "for "))),
    link.reason && say(own(LINKS, link.state, ["idle"])[0], link.reason)));
  const waiting = outbox.records ? `${sized(outbox.records, "event waits", "events wait")} for the broker (${bytes(outbox.bytes)})` : "Nothing waits: the broker has everything";
  fill("links", null, items, el("div", { class: "item" },
    el("div", { class: "head" }, el("h3", null, "Outbox"), outbox.dropped > 0 && el("span", { class: "badge", "data-tone": "bad" }, sized(outbox.dropped, "event") + " dropped")),
    el("p", null, waiting + ".")));
}

function drawRefused(refused) {
  const entries = Object.entries(refused).sort((a, b) => b[1] - a[1]);
  id("refused").hidden = entries.length === 0;
  fill("refused", null, el("dl", null, entries.map(([name, count]) => reading(code(name), String(count)))));
}

function tile(name, tone, text) {
  return el("div", { class: "tile", "data-tone": tone }, el("dt", null, name), el("dd", null, text));
}
function drawGlance({ applications, health, links, outbox }) {
  const states = Object.values(applications).map((app) => app.state);
  const unwell = states.filter((state) => state !== "Healthy").length;
  const apps = states.length === 0 ? ["idle", "none"] : unwell === 0 ? ["ok", "all well"] : [states.some((state) => own(STATES, state, [])[0] === "bad") ? "bad" : "warn", `${unwell} of ${states.length} not well`];
  const link = (name) => (own(links, name) ? [own(LINKS, links[name].state, ["idle"])[0], links[name].state] : ["idle", "unknown"]);
  id("glance").replaceChildren(
    tile("Applications", ...apps), tile("Health", own(STATUS, health, ["idle"])[0], health ?? "not sampled yet"),
    tile("MQTT broker", ...link("broker")), tile("Kubernetes API", ...link("cluster")),
    tile("Outbox", outbox.dropped ? "bad" : outbox.records ? "warn" : "ok", outbox.records ? `${outbox.records} waiting` : "empty"));
}

let boot = null;
function show(snapshot) {
  taken = Date.parse(snapshot.at);
  received = performance.now();
  document.body.classList.remove("waiting");
  const { health } = snapshot;
  // Drawn when the board was booted, not at each second of its uptime.
  const booted = health?.uptime_seconds != null ? Date.parse(health.at) - health.uptime_seconds * 1000 : null;
  if (booted != null && (boot == null || Math.abs(booted - boot) > 5000)) boot = booted;
  draw("node", { identity: snapshot.identity, boot: boot && { at: boot, get seconds() { return (now() - boot) / 1000; }, toJSON: () => boot } }, drawNode);
  draw("indication", { report: snapshot.indication, calm: calm.matches }, drawIndication);
  draw("glance", { applications: snapshot.applications, health: health?.status, links: snapshot.links, outbox: snapshot.outbox }, drawGlance);
  draw("faults", snapshot.faults, drawFaults);
  draw("applications", snapshot.applications, drawApplications);
  draw("commands", snapshot.commands, drawCommands);
  draw("health", health, drawHealth);
  draw("links", { links: snapshot.links, outbox: snapshot.outbox }, drawLinks);
  draw("refused", snapshot.refused, drawRefused);
}

let connected = false;
function tell() {
  if (taken != null) {
    document.querySelectorAll("time").forEach(age);
    const uptime = document.querySelector(".uptime");
    if (uptime && boot != null) uptime.textContent = span((now() - boot) / 1000);
  }
  const quiet = taken == null ? 0 : (performance.now() - received) / 1000;
  const stale = connected && quiet > STALE_SECONDS;
  const lost = !connected && taken != null;
  const [tone, text] = connected ? (stale ? ["warn", "no news"] : ["ok", "live"]) : lost ? ["bad", "connection lost"] : ["idle", "connecting"];
  id("live").dataset.tone = tone;
  write("live-text", text);
  id("banner").hidden = !lost && !stale;
  // Not counted by the second: a screen reader would read it out each time.
  write("banner", lost ? "Connection lost. This is what was known when it went; trying again." : stale ? "The agent is reachable, but has had no news for more than a minute." : "");
  document.body.classList.toggle("stale", lost || stale);
}
function write(name, text) {
  if (id(name).textContent !== text) id(name).textContent = text;
}

function follow() {
  const source = new EventSource("/events");
  source.onopen = () => { connected = true; tell(); };
  source.onmessage = (message) => {
    connected = true;
    try { show(JSON.parse(message.data)); } catch (error) { console.error("the snapshot could not be shown", error); }
    tell();
  };
  source.onerror = () => {
    connected = false;
    tell();
    // After an answer that is no stream, such as 503, the browser does not try again by itself.
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 5000);
  };
}
setInterval(tell, 1000);
tell();
follow();
