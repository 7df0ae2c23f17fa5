// Builds the real servers that the tests run against, and helm, from the Go modules beside this file, into the user's
// cache, and copies the folders of Cilium's charts there:
//
//     node test/servers/assets.mjs           build what is missing (about ten minutes on two cores, once)
//     node test/servers/assets.mjs --where   print the folders, as KUBEBUILDER_ASSETS takes them, and end
//
// Each asset has a folder of its own in the cache, named after what it is made from: raising one version rebuilds one
// program. Plain JavaScript, for it runs before `npm ci`: it needs node and go, nothing else.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = import.meta.dirname ?? fileURLToPath(new URL(".", import.meta.url));
const CILIUM = "github.com/cilium/cilium";

/**
 * The programs: the file's name, the folder of its Go module here, the package, the module whose version counts.
 *
 * @type {{ name: string, folder: string, pkg: string, module: string }[]}
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
];

/** Cilium's charts: folders that are copied out of its module, of the version that the Go module in `folder` pins. */
const charts = [
  { name: "cilium-chart-1.20", folder: "clustermesh-apiserver-1.20", module: CILIUM },
  { name: "cilium-chart-1.18", folder: "cilium-chart-1.18", module: CILIUM },
  { name: "cilium-chart-1.14", folder: "cilium-chart-1.14", module: CILIUM },
].map((chart) => ({ ...chart, path: "install/kubernetes/cilium", marker: "Chart.yaml" }));

const recipes = [...programs, ...charts];

/** The names of the assets, in the order in which they are built. */
export const assetNames = recipes.map((recipe) => recipe.name);

const goMod = (recipe) => readFileSync(join(here, recipe.folder, "go.mod"), "utf8");

/** The version a recipe's go.mod pins, such as `v1.36.3`. Throws where there is none. */
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

/** The linker's flags: no symbols, and the version that the program says of itself, which no plain build knows. */
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

/** The folder of an asset in the cache; its name follows from the pins, so that another pin is another folder. */
function cacheFolder(recipe) {
  const hash = createHash("sha256").update(`${process.platform} ${process.arch}`);
  hash.update(`\0${recipe.name}\0${recipe.path ?? ldflags(recipe)}\0${goMod(recipe)}`);
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  const folder = `${recipe.name}-${pin(recipe)}-${hash.digest("hex").slice(0, 12)}`;
  return join(cache, "clustermesh-secrets", folder);
}

/** The path of an asset, a file or a chart's folder: in a folder of KUBEBUILDER_ASSETS, else in the cache, else undefined. */
export function findAsset(name) {
  const recipe = recipes.find((one) => one.name === name);
  if (!recipe) throw new Error(`no asset is called ${name}`);
  const isFile = (path) => existsSync(path) && statSync(path).isFile();
  const folders = (process.env.KUBEBUILDER_ASSETS ?? "").split(delimiter).filter(Boolean);
  return [...folders, cacheFolder(recipe)]
    .map((folder) => join(folder, name))
    .find((path) => isFile(recipe.marker ? join(path, recipe.marker) : path));
}

/**
 * Runs go in a folder here.
 *
 * @param {object} [more] environment variables beside the usual ones
 * @returns its stdout
 * @throws with its last output where it fails
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
      code === 0 ? resolve(stdout) : reject(new Error(`go ended with ${code}:\n${output}`)),
    );
  });
}

/** Builds a program as the file `target`. */
async function buildProgram(recipe, target) {
  const args = ["build", "-trimpath", "-buildvcs=false", "-p", "2", "-ldflags", ldflags(recipe), "-o", target];
  await go([...args, recipe.pkg], recipe.folder);
}

/**
 * Copies a chart out of its module as the folder `target`. The module (35 MB, 90 unpacked) is taken from Go's module
 * cache if it is there; what has to be downloaded is checked against go.sum and not kept.
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
      throw new Error(`${recipe.folder}/go.sum does not have ${recipe.module} ${version} ${module.Sum}`);
    copyFolder(join(module.Dir, recipe.path), target);
  } finally {
    rmSync(downloads, { recursive: true, force: true });
  }
}

/** Copies a folder without its modes, for Go's module cache is read-only. */
function copyFolder(from, to) {
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) copyFolder(source, target);
    else writeFileSync(target, readFileSync(source));
  }
}

/** Builds what is missing. An asset stands under its name only when it is whole. */
async function build() {
  const missing = recipes.filter((recipe) => !findAsset(recipe.name));
  if (missing.length === 0) return console.log(`assets: all ${recipes.length} are there`);
  if (spawnSync("go", ["version"]).status !== 0)
    throw new Error("no `go` in PATH; Go 1.26 or newer builds the servers");
  let temporary = "";
  process.on("exit", () => temporary && rmSync(temporary, { recursive: true, force: true }));
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(130));
  console.log(`assets: ${missing.length} of ${recipes.length} are missing`);
  for (const [index, recipe] of missing.entries()) {
    const label = `[${index + 1}/${missing.length}] ${recipe.name} ${pin(recipe)}`;
    console.log(`${label} ...`);
    const start = performance.now();
    const folder = cacheFolder(recipe);
    temporary = join(folder, `.building-${process.pid}`);
    const whole = join(temporary, recipe.name);
    const make = recipe.path === undefined ? buildProgram : copyChart;
    mkdirSync(temporary, { recursive: true });
    await make(recipe, whole).catch((error) => {
      throw new Error(`${recipe.name} could not be built: ${error.message}`);
    });
    renameSync(whole, join(folder, recipe.name));
    rmSync(temporary, { recursive: true, force: true });
    console.log(`${label}: ${Math.round((performance.now() - start) / 1000)} s`);
  }
  console.log(`assets: all ${recipes.length} are there`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes("--where")) console.log(recipes.map(cacheFolder).join(delimiter));
  else
    await build().catch((error) => {
      console.error(`assets: ${error.message}`);
      process.exit(1);
    });
}
