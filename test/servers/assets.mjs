// Builds the real servers of the tests, helm and promtool from pinned Go modules, and copies Cilium's charts, into the user's
// cache:
//
//     node test/servers/assets.mjs           build missing assets (once, about twelve minutes on two cores)
//     node test/servers/assets.mjs --where   print the folders in the form of KUBEBUILDER_ASSETS
//
// Each asset has a separate folder, named after its inputs: a new version rebuilds one program. This is plain JavaScript
// without packages, because it runs before `npm ci`.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = import.meta.dirname ?? fileURLToPath(new URL(".", import.meta.url));
const CILIUM = "github.com/cilium/cilium";

/**
 * Programs: file name, folder of the Go module, package, the module that determines the version, and build tags.
 *
 * @type {{ name: string, folder: string, pkg: string, module: string, tags?: string }[]}
 */
const programs = [
  { name: "etcd", folder: "etcd", pkg: "go.etcd.io/etcd/server/v3", module: "go.etcd.io/etcd/server/v3" },
  { name: "etcdctl", folder: "etcd", pkg: "go.etcd.io/etcd/etcdctl/v3", module: "go.etcd.io/etcd/etcdctl/v3" },
  {
    name: "kube-apiserver",
    folder: "kube-apiserver",
    pkg: "k8s.io/kubernetes/cmd/kube-apiserver",
    module: "k8s.io/kubernetes",
  },
  ...["1.20", "1.19"].map((minor) => ({
    name: `clustermesh-apiserver-${minor}`,
    folder: `clustermesh-apiserver-${minor}`,
    pkg: `${CILIUM}/clustermesh-apiserver`,
    module: CILIUM,
  })),
  { name: "helm", folder: "helm", pkg: "helm.sh/helm/v3/cmd/helm", module: "helm.sh/helm/v3" },
  {
    name: "kustomize",
    folder: "kustomize",
    pkg: "sigs.k8s.io/kustomize/kustomize/v5",
    module: "sigs.k8s.io/kustomize/kustomize/v5",
  },
  {
    name: "promtool",
    folder: "promtool",
    pkg: "github.com/prometheus/prometheus/cmd/promtool",
    module: "github.com/prometheus/prometheus",
    // Without the clients of all clouds, which take most of the time.
    tags: "remove_all_sd",
  },
];

/** Cilium's charts: folders of Cilium's module, in the version pinned by the Go module in `folder`. */
const charts = ["1.20", "1.19", "1.18", "1.17", "1.16", "1.15", "1.14"].map((minor) => ({
  name: `cilium-chart-${minor}`,
  folder: programs.find(({ name }) => name === `clustermesh-apiserver-${minor}`)?.folder ?? `cilium-chart-${minor}`,
  module: CILIUM,
  path: "install/kubernetes/cilium",
  marker: "Chart.yaml",
}));

const recipes = [...programs, ...charts];

/** Names of the assets, in build order. */
export const assetNames = recipes.map((recipe) => recipe.name);

const goMod = (recipe) => readFileSync(join(here, recipe.folder, "go.mod"), "utf8");

/**
 * Returns the version pinned in a go.mod, as `v1.36.3`.
 *
 * @throws Error if the module is not required
 */
function pin(recipe) {
  for (const line of goMod(recipe).split("\n")) {
    const [module, version] = line
      .trim()
      .replace(/^require /, "")
      .split(/\s+/);
    if (module === recipe.module && version?.startsWith("v")) return version;
  }
  throw new Error(`${recipe.folder}/go.mod does not require ${recipe.module}`);
}

/** Returns linker flags that strip symbols and set the version, which a plain build lacks. */
function ldflags(recipe) {
  const version = pin(recipe);
  const [, major, minor] = /^v(\d+)\.(\d+)\./.exec(version) ?? [];
  const set = { "k8s.io/kubernetes": ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] }[recipe.module];
  const variables = (set ?? []).flatMap((path) => [
    `-X ${path}.gitVersion=${version}`,
    `-X ${path}.gitMajor=${major}`,
    `-X ${path}.gitMinor=${minor}`,
  ]);
  if (recipe.module === "github.com/cilium/cilium")
    variables.push(`-X github.com/cilium/cilium/pkg/version.ciliumVersion=${version.slice(1)}`);
  return ["-s -w", ...variables].join(" ");
}

/** Returns the folder of an asset in the cache; its name contains a hash of the pinned versions. */
function cacheFolder(recipe) {
  const hash = createHash("sha256").update(`${process.platform} ${process.arch}`);
  hash.update(`\0${recipe.name}\0${recipe.path ?? ldflags(recipe)}\0${goMod(recipe)}`);
  if (recipe.tags) hash.update(`\0${recipe.tags}`);
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  const folder = `${recipe.name}-${pin(recipe)}-${hash.digest("hex").slice(0, 12)}`;
  return join(cache, "clustermesh-secrets", folder);
}

/**
 * Finds an asset in the folders of KUBEBUILDER_ASSETS, then in the cache.
 *
 * @returns the path of a program, or of a chart's folder; undefined if there is none
 * @throws Error for an unknown name
 */
export function findAsset(name) {
  const recipe = recipes.find((one) => one.name === name);
  if (!recipe) throw new Error(`unknown asset: ${name}`);
  const isFile = (path) => existsSync(path) && statSync(path).isFile();
  const folders = (process.env.KUBEBUILDER_ASSETS ?? "").split(delimiter).filter(Boolean);
  return [...folders, cacheFolder(recipe)]
    .map((folder) => join(folder, name))
    .find((path) => isFile(recipe.marker ? join(path, recipe.marker) : path));
}

/**
 * Runs go in the folder of a module.
 *
 * @param {object} [more] additional environment variables
 * @returns stdout
 * @throws Error with the last output if it fails
 */
function go(args, folder, more = {}) {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=readonly", GOWORK: "off", ...more };
    const child = spawn("go", args, { cwd: join(here, folder), env, stdio: ["ignore", "pipe", "pipe"] });
    let [stdout, output] = ["", ""];
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
      output = (output + chunk).slice(-8000);
    });
    child.stderr.on("data", (chunk) => {
      output = (output + chunk).slice(-8000);
    });
    child.on("error", reject);
    child.on("close", (code) =>
      code === 0 ? resolve(stdout) : reject(new Error(`go exited with ${code}:\n${output}`)),
    );
  });
}

/** Builds a program into the file `target`. */
async function buildProgram(recipe, target) {
  const args = ["build", "-trimpath", "-buildvcs=false", "-p", "2", "-ldflags", ldflags(recipe), "-o", target];
  const tags = recipe.tags ? ["-tags", recipe.tags] : [];
  await go([...args, ...tags, recipe.pkg], recipe.folder);
}

/**
 * Copies a chart from its module to the folder `target`. The module (35 MB, unpacked 90) is read from Go's module cache, or
 * downloaded, verified by go.sum and removed afterwards.
 */
async function copyChart(recipe, target) {
  const [version, downloads] = [pin(recipe), `${target}.module`];
  const [proxy, cache] = (await go(["env", "GOPROXY", "GOMODCACHE"], recipe.folder)).trim().split("\n");
  const env = {
    GOMODCACHE: downloads,
    GOFLAGS: "-mod=readonly -modcacherw",
    GOPROXY: `${pathToFileURL(join(cache, "cache", "download"))},${proxy}`,
  };
  try {
    const module = JSON.parse(
      await go(["mod", "download", "-json", `${recipe.module}@${version}`], recipe.folder, env),
    );
    const sums = readFileSync(join(here, recipe.folder, "go.sum"), "utf8").split("\n");
    if (!sums.includes(`${recipe.module} ${version} ${module.Sum}`))
      throw new Error(`${recipe.folder}/go.sum lacks ${recipe.module} ${version} ${module.Sum}`);
    copyFolder(join(module.Dir, recipe.path), target);
  } finally {
    rmSync(downloads, { recursive: true, force: true });
  }
}

/** Copies a folder without its modes: Go's module cache is read-only. */
function copyFolder(from, to) {
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) copyFolder(source, target);
    else writeFileSync(target, readFileSync(source));
  }
}

/** Builds missing assets. An asset is renamed to its final path once it is complete. */
async function build() {
  const missing = recipes.filter((recipe) => !findAsset(recipe.name));
  if (missing.length === 0) return console.log(`assets: all ${recipes.length} present`);
  if (spawnSync("go", ["version"]).status !== 0) throw new Error("go not found in PATH: install Go 1.26 or later");
  let temporary = "";
  process.on("exit", () => temporary && rmSync(temporary, { recursive: true, force: true }));
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(130));
  console.log(`assets: ${missing.length} of ${recipes.length} missing`);
  for (const [index, recipe] of missing.entries()) {
    const label = `[${index + 1}/${missing.length}] ${recipe.name} ${pin(recipe)}`;
    console.log(`${label} ...`);
    const start = performance.now();
    const folder = cacheFolder(recipe);
    temporary = join(folder, `.building-${process.pid}`);
    const output = join(temporary, recipe.name);
    const make = recipe.path === undefined ? buildProgram : copyChart;
    mkdirSync(temporary, { recursive: true });
    await make(recipe, output).catch((error) => {
      throw new Error(`cannot build ${recipe.name}: ${error.message}`);
    });
    renameSync(output, join(folder, recipe.name));
    rmSync(temporary, { recursive: true, force: true });
    console.log(`${label}: ${Math.round((performance.now() - start) / 1000)} s`);
  }
  console.log(`assets: all ${recipes.length} present`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes("--where")) console.log(recipes.map(cacheFolder).join(delimiter));
  else
    await build().catch((error) => {
      console.error(`assets: ${error.message}`);
      process.exit(1);
    });
}
