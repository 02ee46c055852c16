// Draws what a dashboard of Grafana asks a Prometheus for, in the places that it gives its panels: a picture of the
// answers, by a page of the tests. Grafana itself draws finer.
//
//   node draw.mjs FOLDER_OF_MODULES DASHBOARD PROMETHEUS_URL SECONDS PICTURE
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, dashboard, url, seconds, picture] = process.argv.slice(2);
const puppeteer = createRequire(`${modules}/`)("puppeteer-core");
const board = JSON.parse(readFileSync(dashboard, "utf8"));

// A cell of Grafana's grid of 24 columns, in pixels.
const CELL = { width: 52, height: 32 };
const COLOURS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff780a", "#f2495c", "#b877d9", "#8ab8ff", "#c0d8ff"];
const variables = { $job: "edge-agent", $instance: "localhost", $__rate_interval: "10s" };

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const filled = (text) => Object.entries(variables).reduce((all, [name, value]) => all.replaceAll(name, value), text);

async function ask(path, parameters) {
  const response = await fetch(`${url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const answer = await response.json();
  if (answer.status !== "success") throw new Error(`${parameters.query}: ${JSON.stringify(answer)}`);
  return answer.data.result;
}

const end = Math.floor(Date.now() / 1000);
const begin = end - Number(seconds);

async function answers(panel) {
  const series = [];
  for (const target of panel.targets ?? []) {
    const query = filled(target.expr);
    const found = target.instant
      ? await ask("query", { query, time: end })
      : await ask("query_range", { query, start: begin, end, step: 1 });
    for (const { metric, value, values } of found) {
      const name = (target.legendFormat ?? "").replace(/{{(\w+)}}/g, (_, label) => metric[label] ?? "");
      series.push({ name, metric, points: (values ?? [value]).map(([at, it]) => [at, Number(it)]) });
    }
  }
  return series;
}

function number(value, defaults) {
  const named = defaults?.mappings?.find((it) => it.type === "value")?.options?.[value]?.text;
  if (named) return named;
  switch (defaults?.unit) {
    case "percentunit": return `${(value * 100).toFixed(1)} %`;
    case "celsius": return `${value.toFixed(1)} °C`;
    case "bytes": return `${(value / 1048576).toFixed(1)} MiB`;
    case "Bps": return `${(value / 1024).toFixed(1)} KiB/s`;
    case "s": return value >= 3600 ? `${(value / 3600).toFixed(1)} h` : `${(value * 1000).toFixed(1)} ms`;
    default: return Number.isInteger(value) ? String(value) : value.toPrecision(3);
  }
}

const defaultsOf = (panel) => panel.fieldConfig?.defaults;
const legend = (series) => series
  .map(({ name }, index) => `<span style="color:${COLOURS[index % COLOURS.length]}">${escape(name)}</span>`).join(" ");

function stat(panel, series) {
  const one = ({ name, points }) => {
    const isName = panel.options?.textMode === "name";
    const value = isName ? name : number(points.at(-1)[1], defaultsOf(panel));
    return `<div class=stat><b>${escape(value)}</b>${isName ? "" : `<small>${escape(name)}</small>`}</div>`;
  };
  return `<div class=stats>${series.map(one).join("")}</div>`;
}

function table(panel, series) {
  const labels = ["instance", "application", "state", "check"].filter((label) => series.some(({ metric }) => metric[label]));
  const row = ({ metric, points }) => {
    const cells = labels.map((label) => metric[label] ?? "");
    return `<tr>${[...cells, number(points.at(-1)[1], defaultsOf(panel))].map((cell) => `<td>${escape(cell)}</td>`).join("")}</tr>`;
  };
  return `<table><tr>${[...labels, ""].map((label) => `<th>${label}</th>`).join("")}</tr>${series.map(row).join("")}</table>`;
}

const across = (at) => ((at - begin) / (end - begin)) * 1000;

function lines(panel, series) {
  const values = series.flatMap(({ points }) => points.map(([, value]) => value)).filter(Number.isFinite);
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const down = (value) => 96 - ((value - low) / (high - low || 1)) * 92;
  const path = ({ points }, index) => {
    const places = points.filter(([, value]) => Number.isFinite(value)).map(([at, value]) => `${across(at)},${down(value)}`);
    return `<polyline fill=none stroke=${COLOURS[index % COLOURS.length]} stroke-width=2 vector-effect=non-scaling-stroke points="${places.join(" ")}"/>`;
  };
  const scale = `<i>${number(high, defaultsOf(panel))}</i><i>${number(low, defaultsOf(panel))}</i>`;
  return `<div class=plot><div class=scale>${scale}</div><svg viewBox="0 0 1000 100" preserveAspectRatio=none>${series.map(path).join("")}</svg></div><small>${legend(series)}</small>`;
}

function timeline(_panel, series) {
  const bar = ({ name, points }, index) => {
    const [from, to] = [across(points[0][0]), across(points.at(-1)[0] + 1)];
    const place = `left:${from / 10}%;width:${(to - from) / 10}%;background:${COLOURS[index % COLOURS.length]}`;
    return `<div class=lane><span style="${place}"></span><small>${escape(name)}</small></div>`;
  };
  return series.map(bar).join("");
}

const KINDS = { stat, table, timeseries: lines, "state-timeline": timeline };

async function drawn(panel) {
  const { x, y, w, h } = panel.gridPos;
  const place = `left:${x * CELL.width}px;top:${y * CELL.height}px;width:${w * CELL.width - 8}px;height:${h * CELL.height - 8}px`;
  const title = `<h2>${escape(filled(panel.title ?? ""))}</h2>`;
  if (panel.type === "row") return `<section class=row style="${place}">${title}</section>`;
  const series = await answers(panel);
  const content = series.length ? KINDS[panel.type](panel, series) : "<p>No data</p>";
  return `<section style="${place}">${title}${content}</section>`;
}

const STYLE = `
  body { margin: 8px; background: #111217; color: #ccccdc; font: 13px sans-serif; position: relative }
  section { position: absolute; box-sizing: border-box; overflow: hidden; padding: 6px 8px; background: #181b1f; border: 1px solid #2c3235; border-radius: 3px;
    display: flex; flex-direction: column }
  .row { background: none; border: none } h2 { font-size: 13px; margin: 0 0 4px; font-weight: 600 }
  .stats { display: flex; gap: 16px; flex: 1; align-items: center; justify-content: center } .stat { text-align: center } .stat b { font-size: 24px; color: #73bf69; display: block }
  table { border-spacing: 12px 3px; text-align: left } p { margin: auto; color: #8e8e8e }
  .plot { flex: 1; display: flex; min-height: 0 } svg { flex: 1; min-width: 0; height: 100% } .scale { display: flex; flex-direction: column; justify-content: space-between; width: 72px } i { font-style: normal; font-size: 11px }
  .lane { position: relative; height: 24px; margin: 2px 0 } .lane span { position: absolute; height: 100%; opacity: .7 } .lane small { position: relative; padding: 4px; line-height: 24px; color: #fff }`;

const panels = [];
for (const panel of board.panels) panels.push(await drawn(panel));
const height = Math.max(...board.panels.map(({ gridPos: { y, h } }) => y + h)) * CELL.height + 16;
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"],
  timeout: 120_000,
});
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 24 * CELL.width + 16, height });
  await page.setContent(`<!doctype html><style>${STYLE}</style>${panels.join("")}`);
  await page.screenshot({ path: picture });
} finally {
  await browser.close();
}
