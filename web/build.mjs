// Builds the page into `dist`: scripts and styles with a hash in their name, everything also compressed. `node build.mjs`

import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { constants, brotliCompressSync, gzipSync } from "node:zlib";

const DIST = new URL("dist/", import.meta.url);
/** The client library, from its sources. */
const client = (path) => new URL(`../clients/typescript/src/${path}`, import.meta.url).pathname;
const alias = {
  "@godwit/client/tabs": client("tabs/index.ts"),
  "@godwit/client/download": client("transfer/download.ts"),
  "@godwit/client/text": client("text.ts"),
  "@godwit/client": client("index.ts"),
  "#socket": client("network/socket_browser.ts"),
};

async function bundle(entry, define = {}) {
  const result = await build({
    entryPoints: [new URL(`src/${entry}`, import.meta.url).pathname],
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
    jsx: "automatic",
    jsxImportSource: "preact",
    outdir: "out",
    alias,
    define,
  });
  return result.outputFiles[0].contents;
}

const hashed = (name, bytes) => {
  const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 10);
  return `assets/${name.replace(".", `-${hash}.`)}`;
};

const files = new Map();
const worker = await bundle("worker.ts");
const workerName = hashed("worker.js", worker);
files.set(workerName, worker);
const app = await bundle("main.tsx", { WORKER_URL: JSON.stringify(`/${workerName}`) });
const appName = hashed("app.js", app);
files.set(appName, app);
const style = await bundle("style.css");
const styleName = hashed("style.css", style);
files.set(styleName, style);
files.set("sw.js", await bundle("sw.ts"));
for (const name of ["manifest.webmanifest", "icon.svg"]) files.set(name, await readFile(new URL(`src/${name}`, import.meta.url)));
const page = (await readFile(new URL("src/index.html", import.meta.url), "utf8"))
  .replace("APP", `/${appName}`)
  .replace("STYLE", `/${styleName}`);
files.set("index.html", Buffer.from(page));

await rm(DIST, { recursive: true, force: true });
await mkdir(new URL("assets/", DIST), { recursive: true });
let weight = 0;
for (const [name, bytes] of files) {
  const gz = gzipSync(bytes, { level: 9 });
  const br = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } });
  await writeFile(new URL(name, DIST), bytes);
  await writeFile(new URL(`${name}.gz`, DIST), gz);
  await writeFile(new URL(`${name}.br`, DIST), br);
  weight += br.length;
}
console.log(`web: ${files.size} files, ${weight} bytes compressed`);
