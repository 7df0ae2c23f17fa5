// Builds the programs into dist/: CommonJS, which starts 20 to 30 ms sooner than modules do. A program answers help and
// completion from what is rendered here, and loads a command only to run it. Each command is a file of its own, whole: an
// instance of a class never comes from one file into another.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { build } from "esbuild";

const programs = ["clustermesh-secrets", "extract-secret", "import-secrets"];
const { version } = JSON.parse(await readFile("package.json", "utf8"));
const entries = new Set([...programs, "prerender"].map((name) => join("scripts", `${name}.ts`)));

/** Turns a lazy import among the scripts into one of the file built beside, and has that built too. */
const builtBeside = {
  name: "built-beside",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.?\// }, ({ kind, path, resolveDir }) => {
      if (kind !== "dynamic-import") return undefined;
      const file = join(resolveDir, path).slice(process.cwd().length + 1);
      if (!file.startsWith("scripts/")) return undefined;
      entries.add(file);
      return { path: `./${basename(file, ".ts")}.js`, external: true };
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

/**
 * One package's licence, as its own folder tells it: at its top, or deeper for what it bundles itself.
 *
 * @throws where the package names no licence or comes without its text: then it cannot be handed on.
 */
async function licenceOf(folder) {
  const { name, version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  const files = (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && /^(.*[-_.])?(licen[cs]es?|copying|notices?)([-_.].*)?$/i.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !file.slice(folder.length).includes("node_modules"))
    .sort();
  if (typeof license !== "string") throw new Error(`${name} ${version} is bundled, and names no licence`);
  if (!files.some((file) => dirname(file) === folder)) {
    throw new Error(`${name} ${version} is bundled, and there is no licence file in ${folder}`);
  }
  const texts = await Promise.all(files.map(async (file) => (await readFile(file, "utf8")).trim()));
  return [`${name} ${version} (${license})`, ...texts].join("\n\n");
}

await rm("dist", { recursive: true, force: true });
/** The names of the files that were built. */
const built = new Set();
for (let entryPoints = [...entries]; entryPoints.length > 0; ) {
  const { metafile } = await build({
    entryPoints: Object.fromEntries(entryPoints.map((entry) => [basename(entry, ".ts"), entry])),
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
  for (const entry of entryPoints) built.add(basename(entry, ".ts"));
  entryPoints = [...entries].filter((entry) => !built.has(basename(entry, ".ts")));
}
const licences = await Promise.all([...bundled].sort().map(licenceOf));
const head = "The programs of clustermesh-secrets contain parts of these packages, under their own licences.";
await writeFile("dist/THIRD-PARTY-LICENSES.txt", `${[head, ...licences].join(`\n\n${"-".repeat(80)}\n\n`)}\n`);
const forShells = (await readdir("scripts")).filter((file) => /\.(bash|zsh|fish)$/.test(file));
for (const file of forShells) await copyFile(join("scripts", file), join("dist", file));
await writeFile("dist/package.json", '{"type":"commonjs"}\n');
await prerender();
await compileAhead();
for (const name of programs) await chmod(`dist/${name}.js`, 0o755);

/** Writes what the programs know without loading a command, as the commands that were built tell it. */
async function prerender() {
  const { prerender } = createRequire(join(process.cwd(), "package.json"))("./dist/prerender.js");
  for (const [what, known] of Object.entries(await prerender())) {
    await writeFile(`dist/${what}.json`, JSON.stringify(known));
  }
  await rm("dist/prerender.js");
}

/**
 * Keeps the code of what people wait for as V8 compiled it while it did its work, on the sandbox: compiling it anew takes
 * a sixth of each run. A V8 of another version compiles it itself.
 */
async function compileAhead() {
  const dir = await mkdtemp(join(tmpdir(), "clustermesh-build-"));
  const sandbox = spawn(process.execPath, ["dist/clustermesh-secrets.js", "sandbox"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  try {
    const [line] = await once(createInterface({ input: sandbox.stdout }), "line");
    const env = { PATH: process.env.PATH, HOME: dir, KUBECONFIG: line.replace("export KUBECONFIG=", "") };
    const file = join(dir, "cluster2.json");
    const work = [
      ["extract", "extract-secret", "--context", "cluster2", "--output-file", file],
      ["import", "import-secrets", "--context", "cluster3", file],
      // Help for a narrow terminal, or beside other flags.
      ["help", "extract-secret", "--help", "--no-debug"],
      ["inspect", "clustermesh-secrets", "inspect", file],
      ["connect", "clustermesh-secrets", "connect", "cluster1", "cluster2", "cluster3", "--yes", "--restart-agents"],
      ["contexts", "clustermesh-secrets", "__complete", "status", ""],
      ["status", "clustermesh-secrets", "status", "--all-contexts"],
      ["verify", "clustermesh-secrets", "verify", "--context", "cluster1"],
    ];
    for (const [name, program, ...args] of work.filter(([name]) => built.has(name))) {
      const path = join("dist", `${name}.js`);
      const code = `${name}.code.js`;
      await writeFile(join("dist", code), wrapped(await readFile(path, "latin1")), "latin1");
      const cache = JSON.stringify(join("dist", `${code}.cache`));
      const keep = `process.on("exit",()=>require("node:fs").writeFileSync(${cache},script.createCachedData()));`;
      await writeFile(path, loader(code, keep));
      await promisify(execFile)(process.execPath, [join("dist", `${program}.js`), ...args], { env });
      await writeFile(path, `#!/usr/bin/env node\n${loader(code)}`);
    }
  } finally {
    sandbox.kill();
    await rm(dir, { recursive: true, force: true });
  }
}

/** A module's code as the function that Node would make of it. */
function wrapped(code) {
  return `(function(exports,require,module,__filename,__dirname){${code.replace("#!", "//")}\n})`;
}

/** A script that runs what stands wrapped in a file beside it, which is ASCII. `before` runs first, and sees it as `script`. */
function loader(file, before = "") {
  return [
    'const{readFileSync}=require("node:fs"),{Script}=require("node:vm");',
    // What is compiled keeps the name, so that it is no path of the machine that builds.
    `const filename=${JSON.stringify(file)},path=require("node:path").join(__dirname,filename);`,
    'let cachedData;try{cachedData=readFileSync(path+".cache")}catch{}',
    'const script=new Script(readFileSync(path,"latin1"),{filename,cachedData});',
    before,
    "script.runInThisContext()(exports,require,module,__filename,__dirname);\n",
  ].join("");
}
