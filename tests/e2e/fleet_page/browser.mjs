// Chromium for the suites: reads a line of JSON, does what it says, and answers with a line of JSON.
//
//   node browser.mjs NODE_MODULES
//
// {"do": "open", "at": URL}                a new tab; later lines are about it
// {"do": "reload"}
// {"do": "run", "code": FUNCTION BODY}     in the page; answers with what it returns
// {"do": "type", "at": SELECTOR, "text"}   as a person types; what stood there is gone
// {"do": "press", "key"}                   as a person presses a key
// {"do": "size", "width", "height"}
// {"do": "dark", "on"}                     what the system of the viewer prefers
// {"do": "picture", "file"}
// {"do": "axe"}                            what axe finds wrong with the page
// {"do": "complaints"}                     errors of pages and of their policy since the last time
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";

const require = createRequire(`${process.argv[2]}/node_modules/`);
const puppeteer = require("puppeteer-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
// Root has no sandbox for it.
const args = ["--no-sandbox", "--force-color-profile=srgb", ...quiet];
const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args });
let page;
let complaints = [];

async function open(at) {
  page = await (await browser.createBrowserContext()).newPage();
  await page.setViewport({ width: 1280, height: 800 });
  page.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await page.goto(at, { waitUntil: "load" });
}

async function audit() {
  // Into a world of its own, which the policy of the page does not bind.
  const session = await page.createCDPSession();
  const { frameTree } = await session.send("Page.getFrameTree");
  const { executionContextId: contextId } = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id });
  await session.send("Runtime.evaluate", { expression: axe, contextId });
  const found = await session.send("Runtime.evaluate", { expression: "axe.run().then((it) => it.violations.map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => node.html).slice(0, 3).join(' ')}`))", contextId, awaitPromise: true, returnByValue: true });
  if (found.exceptionDetails) throw new Error(JSON.stringify(found.exceptionDetails));
  await session.detach();
  return found.result.value;
}

async function obey(order) {
  switch (order.do) {
    case "open":
      return open(order.at);
    case "reload":
      return void (await page.reload());
    case "run":
      return page.evaluate(`(async () => { ${order.code} })()`);
    case "type":
      await page.click(order.at, { count: 3 });
      await page.keyboard.press("Backspace");
      return page.type(order.at, order.text);
    case "press":
      return page.keyboard.press(order.key);
    case "size":
      return page.setViewport({ width: order.width, height: order.height });
    case "dark":
      return page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: order.on ? "dark" : "light" }]);
    case "picture":
      return void (await page.screenshot({ path: order.file }));
    case "axe":
      return audit();
    case "complaints": {
      const found = complaints;
      complaints = [];
      return found;
    }
    default:
      throw new Error(`there is no order ${order.do}`);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = { ok: (await obey(JSON.parse(line))) ?? null };
  } catch (error) {
    answer = { failed: String(error?.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
