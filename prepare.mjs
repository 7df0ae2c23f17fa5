// npm's prepare script, run by `npm install` in or of a clone, `npm install git+…` and `npm pack`: installs missing build
// dependencies and builds the programs. Plain JavaScript without packages, because none may be installed yet.
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, readFileSync, realpathSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL(".", import.meta.url));
const { name, devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
/** The flags override those inherited from the calling npm: `--global`, `--omit=dev`, `--dry-run`. */
const INSTALL = [
  ...["ci", "--global=false", "--location=project", "--include=dev", "--ignore-scripts", "--dry-run=false"],
  ...["--no-audit", "--no-fund", "--json=false", "--loglevel=error"],
];

if (existsSync(join(root, "build.mjs"))) prepare();

function prepare() {
  // `npm install --package-lock-only` installs nothing, but runs this script.
  if (process.env.npm_config_package_lock_only === "true") return;
  if (isBeingCloned()) return unlinkClone();
  const missing = Object.keys(devDependencies).filter((one) => !existsSync(join(root, "node_modules", one)));
  if (missing.length > 0 && !runNpm(INSTALL)) {
    return fail("cannot install the build dependencies", "npm ci --ignore-scripts && npm run prepare");
  }
  if (!run(process.execPath, ["build.mjs"])) fail("cannot build the programs", "make build");
}

/**
 * Whether npm is installing the packages of its temporary clone of a Git repository. npm runs this script again before it
 * packs the clone.
 */
function isBeingCloned() {
  const clones = process.env._PACOTE_NO_PREPARE_?.split("\n") ?? [];
  const { stdout } = spawnSync("git", ["rev-parse", "HEAD"], { cwd: root, encoding: "utf8" });
  return clones.some((clone) => clone.endsWith(`#${stdout?.trim() || "unknown"}`));
}

/**
 * Removes the link to the temporary clone from the global packages. `npm install --global git+…` installs the packages of the
 * clone with `--global` too, which replaces the package's folder by a link to the clone; npm would then unpack the package
 * into the clone and delete it (npm 11.19).
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

/** Runs the calling npm, or the one in PATH; returns whether it succeeded. */
function runNpm(args) {
  const path = process.env.npm_execpath;
  return path?.endsWith("npm-cli.js") ? run(process.execPath, [path, ...args]) : run("npm", args);
}

/** Runs a program with its output on stderr, as stdout may be JSON (`npm pack --json`); returns whether it succeeded. */
function run(program, args) {
  return spawnSync(program, args, { cwd: root, stdio: ["ignore", 2, 2] }).status === 0;
}

/** Prints an error and, unless this is npm's temporary clone, the command to run; sets the exit code. */
function fail(message, remedy) {
  const { npm_config_cache: cache } = process.env;
  const temporary = cache !== undefined && root.startsWith(join(cache, "_cacache", "tmp"));
  process.stderr.write(`error: ${name}: ${message}\n`);
  if (!temporary) process.stderr.write(`  cd ${JSON.stringify(root)} && ${remedy}\n`);
  process.exitCode = 1;
}
