// Builds the real servers that the tests run against, from the Go modules beside this file, into the user's cache:
//
//     node test/servers/assets.mjs           build what is missing (about eight minutes on two cores, once)
//     node test/servers/assets.mjs --where   print the folder and end
//
// Plain JavaScript, for it runs before `npm ci`: it needs node and go, nothing else.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = import.meta.dirname ?? fileURLToPath(new URL(".", import.meta.url));

/** What is built: the file's name, the folder of its module here, the package, the module whose version counts. */
const recipes = [
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
    pkg: "github.com/cilium/cilium/clustermesh-apiserver",
    module: "github.com/cilium/cilium",
  })),
];

/** The names of the files, in the order in which they are built. */
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

/** The folder in the cache; its name follows from the pins, so that another pin is another folder. */
export function assetsFolder() {
  const hash = createHash("sha256").update(`${process.platform} ${process.arch}`);
  for (const recipe of recipes) hash.update(`\0${recipe.name}\0${ldflags(recipe)}\0${goMod(recipe)}`);
  const version = (name) => pin(recipes.find((recipe) => recipe.name === name)).slice(1);
  const readable = `kube-${version("kube-apiserver")}-etcd-${version("etcd")}-cilium-${version("clustermesh-apiserver-1.20")}`;
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  return join(cache, "clustermesh-secrets", `${readable}-${hash.digest("hex").slice(0, 12)}`);
}

/** The path of a built file: in a folder of KUBEBUILDER_ASSETS, else in the cache; undefined where it is in neither. */
export function findAsset(name) {
  const folders = (process.env.KUBEBUILDER_ASSETS ?? "").split(delimiter).filter(Boolean);
  return [...folders, assetsFolder()]
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path) && statSync(path).isFile());
}

/** Runs go; its output is kept, and thrown with the error where it fails. */
function go(args, cwd) {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=readonly", GOWORK: "off" };
    const child = spawn("go", args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const keep = (chunk) => {
      output = (output + chunk).slice(-8000);
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.on("error", reject);
    child.on("close", (code) => (code === 0 ? resolve() : reject(new Error(`go ended with ${code}:\n${output}`))));
  });
}

/** Builds what is missing. A file stands under its name only when it is whole. */
async function build() {
  const folder = assetsFolder();
  const missing = recipes.filter((recipe) => !findAsset(recipe.name));
  if (missing.length === 0) return console.log(`assets: all ${recipes.length} are there, in ${folder}`);
  if (spawnSync("go", ["version"]).status !== 0)
    throw new Error("no `go` in PATH; Go 1.26 or newer builds the servers");
  mkdirSync(folder, { recursive: true });
  const temporary = join(folder, `.building-${process.pid}`);
  process.on("exit", () => rmSync(temporary, { force: true }));
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(130));
  console.log(`assets: ${missing.length} of ${recipes.length} to build into ${folder}`);
  for (const [index, recipe] of missing.entries()) {
    const label = `[${index + 1}/${missing.length}] ${recipe.name} ${pin(recipe)}`;
    console.log(`${label} ...`);
    const start = performance.now();
    const args = ["build", "-trimpath", "-buildvcs=false", "-p", "2", "-ldflags", ldflags(recipe), "-o", temporary];
    await go([...args, recipe.pkg], join(here, recipe.folder)).catch((error) => {
      throw new Error(`${recipe.name} could not be built: ${error.message}`);
    });
    renameSync(temporary, join(folder, recipe.name));
    console.log(`${label}: ${Math.round((performance.now() - start) / 1000)} s`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes("--where")) console.log(assetsFolder());
  else
    await build().catch((error) => {
      console.error(`assets: ${error.message}`);
      process.exit(1);
    });
}
