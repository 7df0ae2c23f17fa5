// Runs the tests of the built programs on the current LTS of Node, installed from npm's platform packages into the cache of
// the assets. With `--where`, prints the path of that Node instead. Without a registry, the tests are skipped with a message.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const LTS = "26.10.0";

const cache = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
const folder = join(cache, "clustermesh-secrets", `node-${LTS}`);
const platform = `node-${process.platform === "win32" ? "win" : process.platform}-${process.arch}`;
const node = join(folder, "node_modules", platform, "bin", "node");
if (!existsSync(node)) {
  mkdirSync(folder, { recursive: true });
  const args = ["install", "--prefix", folder, "--no-save", "--no-fund", "--no-audit", "--ignore-scripts"];
  const { status } = spawnSync("npm", [...args, `${platform}@${LTS}`], { stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) {
    console.error(`skipped: tests of the built programs on Node ${LTS} (cannot install ${platform})`);
    process.exit(process.env.REQUIRE_REAL_SERVERS === "1" || process.argv[2] === "--where" ? 1 : 0);
  }
}
if (process.argv[2] === "--where") {
  console.log(node);
  process.exit(0);
}
console.log(`built programs on Node ${execFileSync(node, ["--version"], { encoding: "utf8" }).trim()}`);
const tests = ["--import", "tsx", "--test", "--test-reporter=spec", "test/programs/programs.test.ts"];
process.exit(
  spawnSync(process.execPath, tests, { stdio: "inherit", env: { ...process.env, TEST_NODE: node } }).status ?? 1,
);
