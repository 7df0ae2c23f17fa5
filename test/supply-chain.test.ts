/** What is built and tested is what the lock files and modules name. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string) => readFileSync(join(root, path), "utf8");

interface LockedPackage {
  version: string;
  resolved?: string;
  integrity?: string;
}

test("each package of the lock file has a SHA-512 checksum, and no source besides the npm registry", () => {
  const { "": own, ...packages } = JSON.parse(read("package-lock.json")).packages as Record<string, LockedPackage>;
  assert.ok(own && Object.keys(packages).length > 50);
  for (const [path, { resolved, integrity }] of Object.entries(packages)) {
    // Without a URL, npm reads it from the configured registry.
    if (resolved !== undefined) assert.match(resolved, /^https:\/\/registry\.npmjs\.org\//, path);
    assert.match(integrity ?? "", /^sha512-[A-Za-z0-9+/]{86}==$/, path);
  }
});

test("build dependencies have exact versions", () => {
  const { devDependencies } = JSON.parse(read("package.json")) as { devDependencies: Record<string, string> };
  for (const [name, version] of Object.entries(devDependencies)) assert.match(version, /^\d+\.\d+\.\d+$/, name);
});

test("packages are installed from the lock file, and their scripts do not run", () => {
  assert.match(read("Makefile"), /^\t@npm ci --ignore-scripts /m);
  assert.match(read("prepare.mjs"), /\["ci", .*"--ignore-scripts"/);
  assert.doesNotMatch(read("Makefile"), /^\t.*npm (?:i|install|exec) |^\t.*npx (?!tsc|biome|knip)/m);
});

test("each Go module of the real servers has checksums", () => {
  const modules = readdirSync(join(root, "test/servers"), { withFileTypes: true }).filter((one) => one.isDirectory());
  assert.ok(modules.length > 5);
  for (const { name } of modules) assert.ok(existsSync(join(root, "test/servers", name, "go.sum")), name);
});
