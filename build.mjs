// Builds the programs: an entry for each in dist/, and chunks that are loaded when they are needed.
import { chmod, readFile, rm } from "node:fs/promises";
import { build } from "esbuild";

const programs = ["clustermesh-secrets", "extract-secret", "import-secrets"];

const { version } = JSON.parse(await readFile("package.json", "utf8"));

await rm("dist", { recursive: true, force: true });
await build({
  entryPoints: programs.map((name) => `scripts/${name}.ts`),
  outdir: "dist",
  bundle: true,
  splitting: true,
  minify: true,
  keepNames: true,
  platform: "node",
  format: "esm",
  target: "node20.19",
  banner: {
    js: '#!/usr/bin/env node\nimport{createRequire as __createRequire}from"node:module";const require=__createRequire(import.meta.url);',
  },
  define: { __VERSION__: JSON.stringify(version) },
  // yargs measures help texts with it, which are ASCII here; the real one brings tables of Unicode that take 20 ms.
  alias: { "string-width": "./scripts/string-width.mjs" },
  legalComments: "linked",
  logLevel: "warning",
});
for (const name of programs) await chmod(`dist/${name}.js`, 0o755);
