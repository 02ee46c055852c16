// Builds the page into dist/, or its tests into dist/tests with the argument `tests`.
//
// The page may speak with the machine that serves it and with no other. A broker elsewhere is named here, so
// that it stands in the page's Content-Security-Policy: BROKER=wss://broker.example:8884 npm run build
import { readFile, rm, writeFile } from "node:fs/promises";
import { readdirSync } from "node:fs";
import { build } from "esbuild";

const shared = { bundle: true, target: "es2022", legalComments: "none", logLevel: "warning" };

async function page() {
  const broker = process.env.BROKER ?? "";
  if (broker !== "" && !/^wss?:\/\/[A-Za-z0-9.:[\]-]+(\/[A-Za-z0-9._~/-]*)?$/.test(broker)) {
    throw new Error(`BROKER is ${JSON.stringify(broker)}; it is to be an address such as wss://broker.example:8884`);
  }
  await rm("dist", { recursive: true, force: true });
  // A classic script: mosquitto names no content type, and browsers take no module without one.
  await build({
    ...shared,
    entryPoints: { page: "src/main.ts" },
    outdir: "dist",
    format: "iife",
    platform: "browser",
    minify: true,
    define: { BROKER: JSON.stringify(broker), global: "globalThis" },
  });
  await build({ ...shared, entryPoints: { page: "src/page.css" }, outdir: "dist", minify: true });
  const html = await readFile("src/index.html", "utf8");
  const connect = broker === "" ? "'self'" : `'self' ${new URL(broker).origin}`;
  await writeFile("dist/index.html", html.replace("connect-src 'self'", `connect-src ${connect}`));
}

async function tests() {
  await rm("dist/tests", { recursive: true, force: true });
  const entryPoints = readdirSync("tests").map((name) => `tests/${name}`);
  // Node 18 has the cryptography of browsers, under another name.
  const banner = { js: 'import { webcrypto } from "node:crypto"; globalThis.crypto ??= webcrypto;' };
  await build({ ...shared, entryPoints, outdir: "dist/tests", format: "esm", platform: "node", banner, outExtension: { ".js": ".mjs" } });
}

await (process.argv[2] === "tests" ? tests() : page());
