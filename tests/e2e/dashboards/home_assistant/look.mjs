// Opens a page of Home Assistant in Chromium as who is logged in, says what stands on it, and takes a picture.
//
//   node look.mjs FOLDER_OF_MODULES URL TOKENS PICTURE
import { createRequire } from "node:module";

const [modules, url, tokens, picture] = process.argv.slice(2);
const puppeteer = createRequire(`${modules}/`)("puppeteer-core");

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
  timeout: 120_000,
});
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 1280, height: 900 });
  await page.evaluateOnNewDocument((kept) => localStorage.setItem("hassTokens", kept), tokens);
  await page.goto(url, { waitUntil: "domcontentloaded", timeout: 120_000 });
  // Everything is in shadow roots.
  const words = () => {
    const of = (node) => {
      const inner = node.shadowRoot ? [...node.shadowRoot.childNodes, ...node.childNodes] : [...node.childNodes];
      if (node.nodeType === Node.TEXT_NODE) return node.data;
      if (["STYLE", "SCRIPT"].includes(node.nodeName)) return "";
      return inner.map(of).join(" ");
    };
    return of(document.body).replace(/\s+/g, " ");
  };
  const deadline = Date.now() + 90_000;
  let text = "";
  while (!(text.includes("Degraded") && text.includes("Identify")) && Date.now() < deadline) {
    await new Promise((done) => setTimeout(done, 250));
    text = await page.evaluate(words);
  }
  // Let what moves come to rest.
  await new Promise((done) => setTimeout(done, 1500));
  console.log(text);
  await page.screenshot({ path: picture });
} finally {
  await browser.close();
}
