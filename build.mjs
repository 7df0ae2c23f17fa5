// Builds the programs into dist/: CommonJS, which starts 20 to 30 ms sooner than modules do. A program answers help and
// completion from what is rendered here, and loads a command only to run it. Each command is a file of its own, with all of
// our code that it takes: an instance of a class of ours never comes from one file into another. Only packages are shared.
import { chmod, copyFile, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { build } from "esbuild";
import { compileAhead } from "./build/compile-ahead.mjs";
import { licenceOf } from "./build/licences.mjs";

const programs = ["clustermesh-secrets", "extract-secret", "import-secrets"];
const { version } = JSON.parse(await readFile("package.json", "utf8"));
/** Packages that are large, and that most runs of the commands do not load; each with the name of the file that holds it. */
const sharedPackages = new Map([
  ["@grpc/grpc-js", "grpc-js"],
  ["protobufjs/light.js", "protobufjs"],
  ["socks", "socks"],
]);
/** What is built, by the name of the file that it goes into. */
const entries = new Map([...programs, "prerender"].map((name) => [name, join("scripts", `${name}.ts`)]));

/** Turns a lazy import among the scripts, and any of a shared package, into one of the file built beside, and has that built too. */
const builtBeside = {
  name: "built-beside",
  setup({ onResolve }) {
    const beside = (name, entry) => {
      entries.set(name, entry);
      return { path: `./${name}.js`, external: true };
    };
    onResolve({ filter: /^\.\.?\// }, ({ kind, path, resolveDir }) => {
      if (kind !== "dynamic-import") return undefined;
      const file = join(resolveDir, path).slice(process.cwd().length + 1);
      return file.startsWith("scripts/") ? beside(basename(file, ".ts"), file) : undefined;
    });
    onResolve({ filter: /^[@a-z]/ }, ({ kind, path }) => {
      const name = sharedPackages.get(path);
      return name === undefined || kind === "entry-point" ? undefined : beside(name, path);
    });
  },
};

/** The folders of packages that something was taken from, whichever bundle it went into. */
const bundled = new Set();

/** Remembers which packages a build took from, be it a constant. */
function noteBundled({ outputs }) {
  for (const { inputs } of Object.values(outputs)) {
    for (const input of Object.keys(inputs)) {
      const [folder] = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input) ?? [];
      if (folder !== undefined) bundled.add(folder);
    }
  }
}

await rm("dist", { recursive: true, force: true });
/** The names of the files that were built. */
const built = new Set();
for (let entryPoints = [...entries]; entryPoints.length > 0; ) {
  const { metafile } = await build({
    entryPoints: Object.fromEntries(entryPoints),
    outdir: "dist",
    bundle: true,
    // Names stay as they are, for a stack tells them; to keep them by `keepNames` costs more at each start.
    minifyWhitespace: true,
    minifySyntax: true,
    platform: "node",
    format: "cjs",
    target: "node20.19",
    // What is loaded later is required then: to import it would have Node read the whole file for its exports first.
    supported: { "dynamic-import": false },
    banner: { js: '#!/usr/bin/env node\nconst __url=require("node:url").pathToFileURL(__filename).href;' },
    define: { __VERSION__: JSON.stringify(version), "import.meta.url": "__url" },
    alias: {
      // yargs measures help texts with it, which are ASCII here; the real one brings tables of Unicode that take 20 ms.
      "string-width": "./scripts/cli/string-width.mjs",
      // The same as for Node, but as modules, of which only what is used is taken.
      yaml: "./node_modules/yaml/browser/index.js",
    },
    plugins: [builtBeside],
    // THIRD-PARTY-LICENSES.txt has them all, whole.
    legalComments: "none",
    metafile: true,
    logLevel: "warning",
  });
  noteBundled(metafile);
  for (const [name] of entryPoints) built.add(name);
  entryPoints = [...entries].filter(([name]) => !built.has(name));
}
const licences = await Promise.all([...bundled].sort().map(licenceOf));
const head = "The programs of clustermesh-secrets contain parts of these packages, under their own licences.";
await writeFile("dist/THIRD-PARTY-LICENSES.txt", `${[head, ...licences].join(`\n\n${"-".repeat(80)}\n\n`)}\n`);
const forShells = (await readdir("scripts")).filter((file) => /\.(bash|zsh|fish)$/.test(file));
for (const file of forShells) await copyFile(join("scripts", file), join("dist", file));
await writeFile("dist/package.json", '{"type":"commonjs"}\n');
await prerender();
await compileAhead(built);
for (const name of programs) await chmod(`dist/${name}.js`, 0o755);

/** Writes what the programs know without loading a command, as the commands that were built tell it. */
async function prerender() {
  const { prerender } = createRequire(join(process.cwd(), "package.json"))("./dist/prerender.js");
  for (const [what, known] of Object.entries(await prerender())) {
    await writeFile(`dist/${what}.json`, JSON.stringify(known));
  }
  await rm("dist/prerender.js");
}
