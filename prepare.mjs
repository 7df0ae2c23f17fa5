// What npm runs to make the package of a Git repository or a clone, which hold no built programs: `npm install` in a clone
// or of one, `npm install git+…`, `npm pack`. Installs the packages that the build takes, if they are missing, and builds.
// Plain JavaScript without packages, since it may run before there are any.
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, readFileSync, realpathSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL(".", import.meta.url));
const { name, devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
/** The flags stand against what npm passes on of the command that it runs for: `--global`, `--omit=dev`, `--dry-run`. */
const INSTALL = [
  ...["ci", "--global=false", "--location=project", "--include=dev", "--ignore-scripts", "--dry-run=false"],
  ...["--no-audit", "--no-fund", "--json=false", "--loglevel=error"],
];

if (existsSync(join(root, "build.mjs"))) prepare();

function prepare() {
  // `npm install --package-lock-only` installs nothing, and yet runs this.
  if (process.env.npm_config_package_lock_only === "true") return;
  if (isBeingCloned()) return unlinkClone();
  const missing = Object.keys(devDependencies).filter((one) => !existsSync(join(root, "node_modules", one)));
  if (missing.length > 0 && !runNpm(INSTALL)) {
    return fail("cannot install the packages that the build takes", "npm ci --ignore-scripts && npm run prepare");
  }
  if (!run(process.execPath, ["build.mjs"])) fail("cannot build the programs", "make build");
}

/**
 * Whether npm is still fetching the packages of its temporary clone of a Git repository. It runs this once more after
 * that, before it packs the clone.
 */
function isBeingCloned() {
  const clones = process.env._PACOTE_NO_PREPARE_?.split("\n") ?? [];
  const { stdout } = spawnSync("git", ["rev-parse", "HEAD"], { cwd: root, encoding: "utf8" });
  return clones.some((clone) => clone.endsWith(`#${stdout?.trim() || "unknown"}`));
}

/**
 * Takes the temporary clone out of the global packages. `npm install --global git+…` makes the folder of the package,
 * fetches the clone's packages with `--global` too, which puts a link to the clone in the place of that folder, and would
 * unpack the package there, into a clone that it then deletes (npm 11.19).
 */
function unlinkClone() {
  const prefix = process.env.npm_config_prefix;
  if (process.env.npm_config_global !== "true" || !prefix) return;
  for (const modules of [join(prefix, "lib", "node_modules"), join(prefix, "node_modules")]) {
    const link = join(modules, name);
    if (lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink() && realpathSync(link) === realpathSync(root)) {
      unlinkSync(link);
      mkdirSync(link);
    }
  }
}

/** Runs npm, the one that runs this if one does, and tells whether it did its work. */
function runNpm(args) {
  const path = process.env.npm_execpath;
  return path?.endsWith("npm-cli.js") ? run(process.execPath, [path, ...args]) : run("npm", args);
}

/** Runs a program in this folder, with all that it prints on stderr: stdout may be a document, as of `npm pack --json`. */
function run(program, args) {
  return spawnSync(program, args, { cwd: root, stdio: ["ignore", 2, 2] }).status === 0;
}

/** Says what went wrong below what npm or the build said of it, and what to do in a clone that is not npm's own. */
function fail(message, remedy) {
  const { npm_config_cache: cache } = process.env;
  const temporary = cache !== undefined && root.startsWith(join(cache, "_cacache", "tmp"));
  process.stderr.write(`error: ${name}: ${message}\n`);
  if (!temporary) process.stderr.write(`  cd ${JSON.stringify(root)} && ${remedy}\n`);
  process.exitCode = 1;
}
