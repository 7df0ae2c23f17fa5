// Builds the programs into dist/: CommonJS, which starts 20 to 30 ms sooner than modules do. A command that
// clustermesh-secrets loads only when it is asked for is a file of its own, whole: no class stands in two files that
// are loaded together.
import { chmod, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { build } from "esbuild";

const programs = ["clustermesh-secrets", "extract-secret", "import-secrets"];
const { version } = JSON.parse(await readFile("package.json", "utf8"));
const entries = new Set(programs.map((name) => join("scripts", `${name}.ts`)));

/** Turns a lazy import among the scripts into one of the file built beside, and has that built too. */
const builtBeside = {
  name: "built-beside",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.?\// }, ({ kind, path, resolveDir }) => {
      if (kind !== "dynamic-import") return undefined;
      const file = join(resolveDir, path).slice(process.cwd().length + 1);
      if (dirname(file) !== "scripts") return undefined;
      entries.add(file);
      return { path: `./${basename(file, ".ts")}.js`, external: true };
    });
  },
};

await rm("dist", { recursive: true, force: true });
for (const built = new Set(); built.size < entries.size; ) {
  const entryPoints = [...entries].filter((entry) => !built.has(entry));
  await build({
    entryPoints: Object.fromEntries(entryPoints.map((entry) => [basename(entry, ".ts"), entry])),
    outdir: "dist",
    bundle: true,
    minify: true,
    keepNames: true,
    platform: "node",
    format: "cjs",
    target: "node20.19",
    banner: { js: '#!/usr/bin/env node\nconst __url=require("node:url").pathToFileURL(__filename).href;' },
    define: { __VERSION__: JSON.stringify(version), "import.meta.url": "__url" },
    // yargs measures help texts with it, which are ASCII here; the real one brings tables of Unicode that take 20 ms.
    alias: { "string-width": "./scripts/string-width.mjs" },
    plugins: [builtBeside],
    legalComments: "linked",
    logLevel: "warning",
  });
  for (const entry of entryPoints) built.add(entry);
}
await writeFile("dist/package.json", '{"type":"commonjs"}\n');
for (const name of programs) await chmod(`dist/${name}.js`, 0o755);
