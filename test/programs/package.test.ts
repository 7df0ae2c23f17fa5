/** The npm package, installed outside the checkout, offline, with nothing but Node in PATH. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import module from "node:module";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Script } from "node:vm";
import { type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { node, type ProgramResult, run } from "../support/programs.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const kubectl = whereIs("kubectl");
const bash = whereIs("bash");
const git = whereIs("git");

function whereIs(program: string): string | undefined {
  const paths = (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, program));
  return paths.find((path) => existsSync(path));
}

interface Packed {
  filename: string;
  files: { path: string; mode: number }[];
}

describe("the package, installed globally", () => {
  let dir: string;
  let sandbox: Sandbox;
  let packed: Packed;
  /** The folder of the installed package. */
  let installed: string;
  let manifest: Record<string, unknown>;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "package-"));
    sandbox = await startSandbox();
    await mkdir(join(dir, "tools"));
    await symlink(node, join(dir, "tools", "node"));
    if (kubectl !== undefined) await symlink(kubectl, join(dir, "tools", "kubectl"));
    packed = await pack();
    await npm(["install", "--global", "--prefix", join(dir, "prefix"), join(dir, packed.filename)]);
    installed = join(dir, "prefix", "lib", "node_modules", "clustermesh-secrets");
    manifest = JSON.parse(await readFile(join(installed, "package.json"), "utf8"));
  });
  after(async () => {
    await sandbox?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  /** Runs npm in the checkout, without registry, cache and user settings. */
  async function npm(args: string[]): Promise<string> {
    const env = { PATH: process.env.PATH, HOME: dir, npm_config_cache: join(dir, "cache") };
    const options = ["--offline", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"];
    return (await promisify(execFile)("npm", [...args, ...options], { cwd: root, env })).stdout;
  }

  async function pack(): Promise<Packed> {
    const [one] = JSON.parse(await npm(["pack", "--ignore-scripts", "--json", "--pack-destination", dir])) as [Packed];
    return one;
  }

  /** Runs a program by name, with only the programs, Node and possibly kubectl in PATH. */
  function call(program: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<ProgramResult> {
    const PATH = [join(dir, "prefix", "bin"), join(dir, "tools")].join(delimiter);
    return new Promise((resolve) => {
      const child = execFile(program, args, { cwd: dir, env: { PATH, ...env } }, (error, stdout, stderr) =>
        resolve({ code: error ? child.exitCode : 0, stdout, stderr: error ? stderr || error.message : stderr }),
      );
    });
  }

  test("has no dependencies and no install scripts", async () => {
    for (const kind of ["dependencies", "optionalDependencies", "peerDependencies", "bundleDependencies"]) {
      assert.equal(manifest[kind], undefined, kind);
    }
    const scripts = Object.keys(manifest.scripts as object);
    assert.deepEqual(
      scripts.filter((name) => /^(pre|post)?install$|^dependencies$/.test(name)),
      [],
    );
    // npm runs it to create a package, and to install an unpacked one from its folder.
    await promisify(execFile)(node, ["prepare.mjs"], { cwd: installed });
    assert.deepEqual(await readdir(join(dir, "prefix", "lib", "node_modules")), ["clustermesh-secrets"]);
    assert.ok(!existsSync(join(installed, "node_modules")), "no packages beneath it");
  });

  test("contains the programs and their files, without sources, tests and secrets", () => {
    const paths = packed.files.map(({ path }) => path);
    const foreign = paths.filter(
      (path) =>
        !/^(dist\/[\w.-]+\.(js|js\.cache|txt|json|bash|zsh|fish)|docs\/.+|deploy\/.+|README\.md|LICENSE|package\.json)$/.test(
          path,
        ) && !/^(bin\/[\w-]+\.cjs|prepare\.mjs)$/.test(path),
    );
    assert.deepEqual(foreign, []);
    assert.deepEqual(
      paths.filter((path) => /\.(ts|map|pem|key|tgz)$|(^|\/)tests?\//.test(path)),
      [],
    );
    for (const path of ["LICENSE", "README.md", "dist/THIRD-PARTY-LICENSES.txt"]) {
      assert.ok(paths.includes(path), `${path} is in it`);
    }
    for (const path of Object.values(manifest.bin as Record<string, string>)) {
      assert.ok(paths.includes(path), `${path} is in it`);
    }
  });

  test("contains compiled code that this V8 accepts, without traces of the build machine", async () => {
    const caches = packed.files.map(({ path }) => path).filter((path) => path.endsWith(".cache"));
    assert.deepEqual(caches.map((path) => path.replace(/^dist\/|\.code\.js\.cache$/g, "")).sort(), [
      "connect",
      "contexts",
      "extract",
      "grpc-js",
      "help",
      "import",
      "inspect",
      "protobufjs",
      "status",
      "verify",
    ]);
    for (const path of caches) {
      const cachedData = await readFile(join(installed, path));
      const code = await readFile(join(installed, path.replace(/\.cache$/, "")), "latin1");
      assert.equal(new Script(module.wrap(code.replace("#!", "//")), { cachedData }).cachedDataRejected, false, path);
      for (const foreign of [process.cwd(), tmpdir(), "MIGHAgEA", "LS0tLS1CRUdJTiBQ"]) {
        assert.ok(!cachedData.includes(foreign), `${foreign} in ${path}`);
      }
    }
  });

  test("does not load HTTP code for help and inspect", async () => {
    const file = join(dir, "inspected.json");
    const env = { KUBECONFIG: sandbox.kubeconfig };
    assert.equal((await call("extract-secret", ["--context", "cluster1", "--output-file", file], env)).code, 0);
    const preload = join(dir, "preload.cjs");
    await writeFile(preload, 'process.on("exit", () => console.error(process.moduleLoadList.join("\\n")));');
    const loaded = async (program: string, ...args: string[]) => {
      const { stderr } = await call(program, args, { ...env, NODE_OPTIONS: `--require ${preload}` });
      return stderr.split("\n").filter((line) => /^NativeModule (http2?|https|tls|child_process|dns)$/.test(line));
    };
    assert.notDeepEqual(await loaded("extract-secret", "--context", "cluster1"), []);
    for (const args of [["--help"], ["inspect", file], ["connect", "--help"]]) {
      assert.deepEqual(await loaded("clustermesh-secrets", ...args), [], args[0]);
    }
    assert.deepEqual(await loaded("extract-secret", "--help"), []);
  });

  test("contains gRPC once, and loads it only to connect to etcd", async () => {
    const texts = await Promise.all(
      packed.files
        .filter(({ path }) => /^dist\/.*\.js$/.test(path))
        .map(async ({ path }) => ({ path, text: await readFile(join(installed, path), "utf8") })),
    );
    const withGrpc = texts.filter(({ text }) => text.includes("GRPC_NODE_TRACE")).map(({ path }) => path);
    assert.equal(withGrpc.length, 1, withGrpc.join(", "));
    assert.match(withGrpc[0] ?? "", /^dist\/grpc-js(\.code)?\.js$/);
    const preload = join(dir, "preload-required.cjs");
    await writeFile(preload, 'process.on("exit", () => console.error(Object.keys(require.cache).join("\\n")));');
    const loadsGrpc = async (...args: string[]) => {
      const env = { KUBECONFIG: sandbox.kubeconfig, NODE_OPTIONS: `--require ${preload}` };
      const { stderr } = await call("clustermesh-secrets", args, env);
      assert.match(stderr, new RegExp(`/dist/${args[0]}(\\.code)?\\.js$`, "m"), "the command itself was loaded");
      return /\/dist\/grpc-js(\.code)?\.js$/m.test(stderr);
    };
    assert.equal(await loadsGrpc("verify", "--context", "cluster1"), true);
    assert.equal(await loadsGrpc("status", "--context", "cluster1", "--probe"), true);
    for (const command of ["status", "connect", "extract"]) {
      assert.equal(await loadsGrpc(command, "--context", "cluster1"), false, command);
    }
  });

  test("uses require for lazy loading, because import would read the whole file for its exports", async () => {
    for (const { path } of packed.files.filter(({ path }) => path.endsWith(".js"))) {
      assert.ok(!/\bimport\(/.test(await readFile(join(installed, path), "utf8")), path);
    }
  });

  test("is executable by everyone and writable only by its owner", async () => {
    for (const path of Object.values(manifest.bin as Record<string, string>)) {
      const { mode } = await stat(join(installed, path));
      assert.equal(mode & 0o777, 0o755, path);
    }
  });

  test("lists each bundled package with version, licence and licence text", async () => {
    const text = await readFile(join(installed, "dist", "THIRD-PARTY-LICENSES.txt"), "utf8");
    const direct = [
      ...[
        "diff",
        "fast-json-patch",
        "fastest-levenshtein",
        "node-forge",
        "prom-client",
        "yaml",
        "yargs",
        "yargs-parser",
        "zx",
      ],
      ...["socks", "ip-address", "smart-buffer"],
    ];
    const ofYargs = [
      "ansi-regex",
      "ansi-styles",
      "cliui",
      "escalade",
      "get-caller-file",
      "strip-ansi",
      "wrap-ansi",
      "y18n",
    ];
    const ofGrpc = [
      "@grpc/grpc-js",
      "@grpc/proto-loader",
      "@js-sdsl/ordered-map",
      ...["aspromise", "base64", "codegen", "eventemitter", "fetch", "float", "path", "pool", "utf8"].map(
        (one) => `@protobufjs/${one}`,
      ),
      "lodash.camelcase",
      "long",
      "protobufjs",
    ];
    const parts = text.split(/^-{80}$/m).slice(1);
    const named = parts.map((part) => part.trim().split(" ")[0] ?? "");
    assert.deepEqual(named, [...direct, ...ofYargs, ...ofGrpc].sort());
    for (const [index, name] of named.entries()) {
      const { version, license } = JSON.parse(await readFile(join(root, "node_modules", name, "package.json"), "utf8"));
      const [title = "", ...body] = (parts[index] ?? "").trim().split("\n");
      assert.equal(title, `${name} ${version} (${license})`);
      const file = (await readdir(join(root, "node_modules", name))).find((one) => /^licen[cs]e/i.test(one)) ?? "";
      const own = (await readFile(join(root, "node_modules", name, file), "utf8")).trim();
      assert.ok(body.join("\n").includes(own), `the licence of ${name}, whole`);
    }
    // zx bundles other packages, with their licences in subfolders.
    for (const inner of ["chalk", "isexe", "node-fetch-native", "which", "zurk"]) {
      assert.match(parts[named.indexOf("zx")] ?? "", new RegExp(`^ *${inner}@\\d`, "m"));
    }
  });

  test("fails to build if a bundled package has no license file", async () => {
    const checkout = join(dir, "checkout");
    const unlicensed = join(checkout, "node_modules", "unlicensed");
    await mkdir(unlicensed, { recursive: true });
    await mkdir(join(checkout, "scripts"));
    await writeFile(join(checkout, "package.json"), JSON.stringify({ version: "0.0.0" }));
    await writeFile(join(unlicensed, "index.js"), "export const answer = () => process.pid;\n");
    const about = { name: "unlicensed", version: "1.2.3", type: "module", license: "MIT" };
    await writeFile(join(unlicensed, "package.json"), JSON.stringify(about));
    for (const program of ["clustermesh-secrets", "extract-secret", "import-secrets"]) {
      const script = 'import { answer } from "unlicensed";\nconsole.log(answer());\n';
      await writeFile(join(checkout, "scripts", `${program}.ts`), script);
    }
    await writeFile(join(checkout, "scripts", "prerender.ts"), "export const prerender = () => ({});\n");
    const build = () => promisify(execFile)(process.execPath, [join(root, "build.mjs")], { cwd: checkout });
    await assert.rejects(build, /cannot bundle unlicensed 1\.2\.3: no license file in /);
    await writeFile(join(unlicensed, "LICENSE"), "Do as you like.\n");
    await build();
    const text = await readFile(join(checkout, "dist", "THIRD-PARTY-LICENSES.txt"), "utf8");
    assert.match(text, /\nunlicensed 1\.2\.3 \(MIT\)\n\nDo as you like\.\n$/);
  });

  test("runs under each of its names", async () => {
    const { version } = manifest as { version: string };
    const names = Object.keys(manifest.bin as object);
    assert.deepEqual(names.sort(), [
      "clustermesh-secrets",
      "extract-secret",
      "import-secrets",
      "kubectl-clustermesh_secrets",
      "kubectl_complete-clustermesh_secrets",
    ]);
    const called = names.filter((name) => !name.startsWith("kubectl_complete"));
    await Promise.all(
      called.flatMap((name) => [
        call(name, ["--version"]).then((ended) => {
          assert.deepEqual(ended, { code: 0, stdout: `${version}\n`, stderr: "" }, name);
        }),
        call(name, ["--help"]).then(({ code, stdout, stderr }) => {
          assert.equal(code, 0, stderr);
          assert.match(stdout, new RegExp(name.startsWith("kubectl") ? "\nUsage: kubectl clustermesh-secrets" : name));
        }),
      ]),
    );
  });

  test("runs as a kubectl plugin", { skip: kubectl === undefined && "kubectl is not installed" }, async () => {
    const help = await call("kubectl", ["clustermesh-secrets", "--help"]);
    assert.equal(help.code, 0, help.stderr);
    assert.match(help.stdout, /^Usage: kubectl clustermesh-secrets COMMAND/m);
    const extract = await call("kubectl", ["clustermesh-secrets", "extract", "--help"]);
    assert.equal(extract.code, 0, extract.stderr);
    assert.match(extract.stdout, /^Usage: kubectl clustermesh-secrets extract /m);
  });

  test("extracts and imports with only KUBECONFIG in the environment", async () => {
    const home = join(dir, "home");
    await mkdir(home);
    const env = { HOME: home, KUBECONFIG: sandbox.kubeconfig };
    const extracted = await call("extract-secret", ["--context", "cluster2"], env);
    assert.deepEqual([extracted.code, extracted.stderr], [0, ""]);
    const built = await run("extract-secret", ["--context", "cluster2"], { kubeconfig: sandbox.kubeconfig });
    assert.equal(extracted.stdout, built.stdout);
    const file = join(dir, "cluster2-secret.json");
    const written = await call("clustermesh-secrets", ["extract", "--context", "cluster2", "--output-file", file], env);
    assert.equal(written.code, 0, written.stderr);
    const imported = await call("import-secrets", ["--context", "cluster3", file], env);
    assert.equal(imported.code, 0, imported.stderr);
    assert.match(imported.stderr, /cluster3 \(Cilium 1\.20\.2, KVStoreMesh\): added cluster2/);
    assert.deepEqual(await readdir(home), []);
  });

  test("runs the demo, which also needs bash", {
    skip: bash === undefined && "there is no bash here",
  }, async () => {
    await symlink(bash ?? "", join(dir, "tools", "bash"));
    const { code, stdout, stderr } = await call("clustermesh-secrets", ["demo"]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /cluster3 .*: unchanged/);
  });
});

describe("a clone without a build", { skip: git === undefined && "git is not installed" }, () => {
  let dir: string;
  let clone: string;
  const programs = ["clustermesh-secrets", "extract-secret", "import-secrets"];

  /** A package with the npm scripts of ours and a minimal build, which needs one local package. */
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "unbuilt-"));
    clone = join(dir, "clone");
    await mkdir(join(clone, "builder"), { recursive: true });
    for (const path of ["bin", "prepare.mjs"]) await cp(join(root, path), join(clone, path), { recursive: true });
    const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
    const files: Record<string, string> = {
      "package.json": JSON.stringify({ ...manifest, devDependencies: { builder: "file:builder" } }),
      "builder/package.json": JSON.stringify({ name: "builder", version: "1.0.0", type: "module", main: "index.js" }),
      "builder/index.js": "export const text = (name) => 'console.log(\"built ' + name + '\");';\n",
      ".gitignore": "node_modules\ndist\n",
      "build.mjs": `import { mkdirSync, writeFileSync } from "node:fs";
        import { text } from "builder";
        mkdirSync("dist", { recursive: true });
        writeFileSync("dist/package.json", '{"type":"commonjs"}');
        for (const name of ${JSON.stringify(programs)}) writeFileSync("dist/" + name + ".js", text(name));\n`,
    };
    for (const [path, text] of Object.entries(files)) await writeFile(join(clone, path), text);
    await npm(["install", "--package-lock-only"]);
    const identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"];
    for (const args of [
      ["init", "--quiet"],
      ["add", "."],
      [...identity, "commit", "--quiet", "--message", "test"],
    ]) {
      await promisify(execFile)("git", args, { cwd: clone });
    }
  });
  after(async () => {
    if (dir) await rm(dir, { recursive: true, force: true });
  });
  beforeEach(async () => {
    for (const path of ["node_modules", "dist"]) await rm(join(clone, path), { recursive: true, force: true });
  });

  /** Runs npm in the clone or another folder, offline and without user settings. */
  async function npm(args: string[], cwd = clone): Promise<string> {
    const env = { PATH: process.env.PATH, HOME: dir, npm_config_cache: join(dir, "cache"), npm_config_offline: "true" };
    const options = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"];
    return (await promisify(execFile)("npm", [...args, ...options], { cwd, env })).stdout;
  }

  async function assertBuilt(bin: string): Promise<void> {
    for (const name of programs) {
      const { stdout } = await promisify(execFile)(join(bin, name), [], { env: { PATH: process.env.PATH } });
      assert.equal(stdout, `built ${name}\n`);
    }
  }

  test("is built by npm install --global of its folder", async () => {
    const prefix = await mkdtemp(join(dir, "prefix-"));
    await npm(["install", "--global", "--prefix", prefix, "."]);
    await assertBuilt(join(prefix, "bin"));
  });

  test("is built by npm install --global from Git, as a package without a link", async () => {
    const prefix = await mkdtemp(join(dir, "prefix-"));
    await npm(["install", "--global", "--prefix", prefix, `git+file://${clone}`], dir);
    await assertBuilt(join(prefix, "bin"));
    const installed = join(prefix, "lib", "node_modules", "clustermesh-secrets");
    assert.ok(!(await lstat(installed)).isSymbolicLink());
    assert.deepEqual((await readdir(installed)).sort(), ["bin", "dist", "package.json", "prepare.mjs"]);
  });

  test("is built by npm install from Git", async () => {
    const project = await mkdtemp(join(dir, "project-"));
    await writeFile(join(project, "package.json"), '{ "name": "project", "version": "1.0.0" }');
    await npm(["install", `git+file://${clone}`], project);
    await assertBuilt(join(project, "node_modules", ".bin"));
  });

  test("is built by npm pack, which prints nothing else to stdout", async () => {
    const packed = await npm(["pack", "--json", "--pack-destination", dir, "--foreground-scripts=false"]);
    const [{ files }] = JSON.parse(packed) as [Packed];
    const paths = files.map(({ path }) => path);
    for (const name of programs) assert.ok(paths.includes(`dist/${name}.js`), name);
  });

  test("fails with two lines if the build dependencies cannot be installed", async () => {
    const broken = join(dir, "broken");
    await cp(clone, broken, { recursive: true });
    await rm(join(broken, "package-lock.json"));
    await assert.rejects(npm(["run", "prepare"], broken), ({ code, stderr }: { code: number; stderr: string }) => {
      assert.equal(code, 1);
      const last = stderr.trimEnd().split("\n").slice(-2);
      assert.equal(last[0], "error: clustermesh-secrets: cannot install the build dependencies");
      assert.match(last[1] ?? "", /^ {2}cd ".*broken\/" && npm ci --ignore-scripts && npm run prepare$/);
      return true;
    });
  });

  test("fails with the build command if a program is not built", async () => {
    const called = promisify(execFile)(node, [join(clone, "bin", "extract-secret.cjs")]);
    await assert.rejects(called, ({ code, stderr }: { code: number; stderr: string }) => {
      assert.equal(code, 1);
      const remedy = `npm --prefix '${clone}' run prepare --ignore-scripts=false`;
      assert.equal(stderr, `error: clustermesh-secrets is not built: npm did not run its scripts\n  ${remedy}\n`);
      return true;
    });
    await promisify(execFile)("npm", ["--prefix", clone, "run", "prepare", "--ignore-scripts=false"], {
      env: { PATH: process.env.PATH, HOME: dir, npm_config_cache: join(dir, "cache"), npm_config_offline: "true" },
    });
    const { stdout } = await promisify(execFile)(node, [join(clone, "bin", "extract-secret.cjs")]);
    assert.equal(stdout, "built extract-secret\n");
  });
});
