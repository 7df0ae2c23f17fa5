// Builds the programs into dist/, as CommonJS, which starts 20 to 30 ms faster than ES modules. Programs print prerendered
// help and completion, and load a command only to run it. Each command is bundled separately with all of our code, so
// instances of our classes never cross files; large packages are shared.
import { chmod, copyFile, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { build } from "esbuild";
import { compileAhead } from "./build/compile-ahead.mjs";
import { licenseOf } from "./build/licenses.mjs";
import { buildPageAssets } from "./build/page-assets.mjs";

const programs = ["clustermesh-secrets", "extract-secret", "import-secrets"];
const { version } = JSON.parse(await readFile("package.json", "utf8"));
/** Large packages that most runs do not load, with the names of their files. */
const sharedPackages = new Map([
  ["@grpc/grpc-js", "grpc-js"],
  ["protobufjs/light.js", "protobufjs"],
  ["socks", "socks"],
  ["prom-client", "prom-client"],
]);
/** Entry points by the names of the output files. */
const entries = new Map([...programs, "prerender"].map((name) => [name, join("scripts", `${name}.ts`)]));

/** Makes lazily imported scripts and shared packages separate entry points, required from their output files. */
const separateFiles = {
  name: "separate-files",
  setup({ onResolve }) {
    const addEntry = (name, entry) => {
      entries.set(name, entry);
      return { path: `./${name}.js`, external: true };
    };
    onResolve({ filter: /^\.\.?\// }, ({ kind, path, resolveDir }) => {
      if (kind !== "dynamic-import") return undefined;
      const file = join(resolveDir, path).slice(process.cwd().length + 1);
      return file.startsWith("scripts/") ? addEntry(basename(file, ".ts"), file) : undefined;
    });
    onResolve({ filter: /^[@a-z]/ }, ({ kind, path }) => {
      const name = sharedPackages.get(path);
      return name === undefined || kind === "entry-point" ? undefined : addEntry(name, path);
    });
  },
};

/** Folders of the bundled packages. */
const bundled = new Set();

/** Records the packages in the outputs of a build. */
function noteBundled({ outputs }) {
  for (const { inputs } of Object.values(outputs)) {
    for (const input of Object.keys(inputs)) {
      const [folder] = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input) ?? [];
      if (folder !== undefined) bundled.add(folder);
    }
  }
}

await rm("dist", { recursive: true, force: true });
/** The texts in status pages, as the source of an object. */
const pageAssets = JSON.stringify(await buildPageAssets());
/** Names of the output files. */
const built = new Set();
for (let entryPoints = [...entries]; entryPoints.length > 0; ) {
  const { metafile } = await build({
    entryPoints: Object.fromEntries(entryPoints),
    outdir: "dist",
    bundle: true,
    // Identifiers are not minified, for readable stack traces; `keepNames` would slow down the start.
    minifyWhitespace: true,
    minifySyntax: true,
    platform: "node",
    format: "cjs",
    target: "node20.19",
    // Converts dynamic imports to require: import() would scan the whole file for exports first.
    supported: { "dynamic-import": false },
    banner: { js: '#!/usr/bin/env node\nconst __url=require("node:url").pathToFileURL(__filename).href;' },
    define: { __VERSION__: JSON.stringify(version), __PAGE_ASSETS__: pageAssets, "import.meta.url": "__url" },
    alias: {
      // yargs measures help texts with it, which are ASCII; the original loads Unicode tables for 20 ms.
      "string-width": "./scripts/cli/string-width.mjs",
      // The build for browsers consists of ES modules, which allows tree shaking.
      yaml: "./node_modules/yaml/browser/index.js",
      // Without the metrics that we do not use, whose packages have no license texts.
      "prom-client": "./build/prom-client.mjs",
    },
    plugins: [separateFiles],
    // All licenses are in THIRD-PARTY-LICENSES.txt.
    legalComments: "none",
    metafile: true,
    logLevel: "warning",
  });
  noteBundled(metafile);
  for (const [name] of entryPoints) built.add(name);
  entryPoints = [...entries].filter(([name]) => !built.has(name));
}
const licenses = await Promise.all([...bundled].sort().map(licenseOf));
const head = "The programs of clustermesh-secrets contain parts of these packages, under their licenses.";
await writeFile("dist/THIRD-PARTY-LICENSES.txt", `${[head, ...licenses].join(`\n\n${"-".repeat(80)}\n\n`)}\n`);
const shellScripts = (await readdir("scripts")).filter((file) => /\.(bash|zsh|fish)$/.test(file));
for (const file of shellScripts) await copyFile(join("scripts", file), join("dist", file));
await writeFile("dist/package.json", '{"type":"commonjs"}\n');
await prerender();
await compileAhead(built);
for (const name of programs) await chmod(`dist/${name}.js`, 0o755);

/** Writes the prerendered help and completion data of the built commands. */
async function prerender() {
  const { prerender } = createRequire(join(process.cwd(), "package.json"))("./dist/prerender.js");
  for (const [name, content] of Object.entries(await prerender())) {
    await writeFile(`dist/${name}.json`, JSON.stringify(content));
  }
  await rm("dist/prerender.js");
}
