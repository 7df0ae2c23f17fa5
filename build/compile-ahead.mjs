// Creates V8 code caches of interactive commands for Node before 22.8. Later versions have a compile cache
// (scripts/cli/compile-cache.ts).
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import module from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

/**
 * Runs the programs on the sandbox and stores V8's code cache next to each: compilation takes a quarter of a run. Another
 * version of V8 rejects the cache. Builds with a Node that has a compile cache have no code cache.
 *
 * @param {ReadonlySet<string>} built names of the files in dist/
 */
export async function compileAhead(built) {
  if (module.enableCompileCache) return;
  const dir = await mkdtemp(join(tmpdir(), "clustermesh-build-"));
  const sandbox = spawn(process.execPath, ["dist/clustermesh-secrets.js", "sandbox"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  try {
    const [line] = await once(createInterface({ input: sandbox.stdout }), "line");
    const env = { PATH: process.env.PATH, HOME: dir, KUBECONFIG: line.replace("export KUBECONFIG=", "") };
    const file = join(dir, "cluster2.json");
    const runs = [
      ["extract", "extract-secret", "--context", "cluster2", "--output-file", file],
      ["import", "import-secrets", "--context", "cluster3", file],
      // Help that is not prerendered: for narrow terminals, or with other flags.
      ["help", "extract-secret", "--help", "--no-debug"],
      ["inspect", "clustermesh-secrets", "inspect", file],
      ["connect", "clustermesh-secrets", "connect", "cluster1", "cluster2", "cluster3", "--yes", "--restart-agents"],
      ["contexts", "clustermesh-secrets", "__complete", "status", ""],
      ["status", "clustermesh-secrets", "status", "--all-contexts"],
      ...["verify", "grpc-js", "protobufjs"].map((name) => [
        name,
        "clustermesh-secrets",
        "verify",
        "--context",
        "cluster1",
      ]),
    ];
    for (const [name, program, ...args] of runs.filter(([name]) => built.has(name))) {
      const path = join("dist", `${name}.js`);
      await rename(path, join("dist", `${name}.code.js`));
      const cache = JSON.stringify(join("dist", `${name}.code.js.cache`));
      const writeCache = `process.on("exit",()=>require("node:fs").writeFileSync(${cache},script.createCachedData()));`;
      await writeFile(path, loader(name, writeCache));
      await promisify(execFile)(process.execPath, [join("dist", `${program}.js`), ...args], { env });
      await writeFile(path, loader(name));
    }
  } finally {
    sandbox.kill();
    await rm(dir, { recursive: true, force: true });
  }
}

/** Returns the source of a module that loads another one with its code cache. `before`: code that runs first, with `script` in scope. */
function loader(name, before = "") {
  const file = `${name}.code.js`;
  return [
    'const m=require("node:module");',
    `if(m.enableCompileCache)module.exports=require("./${file}");else{`,
    'const{readFileSync}=require("node:fs"),{Script}=require("node:vm");',
    // The cache contains the file name: a relative one, independent of the build machine.
    `const filename=${JSON.stringify(file)},path=require("node:path").join(__dirname,filename);`,
    'let cachedData;try{cachedData=readFileSync(path+".cache")}catch{}',
    // The code is ASCII; latin1 decodes faster than utf8.
    'const script=new Script(m.wrap(readFileSync(path,"latin1").replace("#!","//")),{filename,cachedData});',
    before,
    "script.runInThisContext()(exports,require,module,__filename,__dirname)}\n",
  ].join("");
}
