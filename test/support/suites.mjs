// Assigns each test file to one suite of `make test` or `make test-all`. Usage: suites.mjs quick|programs|e2e, prints the files.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Tests of the built programs in the quick suite: leaked keys, unintended writes, crashes. */
const QUICK_PROGRAMS = ["bad-input", "careful", "completion", "flags", "help", "no-key"];
/** Slow tests that depend on other programs. */
const SLOW = ["test/kube/kubectl.test.ts", "test/sandbox/kubectl.test.ts", "test/support/real.test.ts"];
/** Folders whose tests run in three processes, by `units-*.ts`. */
export const UNIT_FOLDERS = ["cli", "extract", "import", "manifests", "mesh", "peer", "render", "sync", "util", "x509"];

/**
 * Returns all test files by suite.
 *
 * @returns {{ units: string[], quick: string[], programs: string[], e2e: string[] }} paths relative to the repository
 */
export function suites() {
  const all = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".test.ts"))
    .map((path) => `test/${path}`)
    .sort();
  const found = { units: [], quick: [], programs: [], e2e: [] };
  for (const path of all) found[suiteOf(path)].push(path);
  return found;
}

function suiteOf(path) {
  const [, folder, name] = /^test\/(?:(.*)\/)?(.*)\.test\.ts$/.exec(path) ?? [];
  if (UNIT_FOLDERS.includes(folder)) return "units";
  if (folder === "e2e") return name === "smoke" ? "quick" : "e2e";
  if (folder === "programs") return QUICK_PROGRAMS.includes(name) ? "quick" : "programs";
  return SLOW.includes(path) ? "programs" : "quick";
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { quick, programs, e2e } = suites();
  // Slowest first, to balance the processes.
  const order = (files, slowest) => [
    ...files.filter((path) => slowest.test(path)),
    ...files.filter((path) => !slowest.test(path)),
  ];
  const files = {
    quick: [
      ...["import", "peer", "sync"].map((name) => `test/support/units-${name}.ts`),
      ...order(quick, /no-key|smoke|bad-input/),
    ],
    programs: order(programs, /sync-faults/),
    e2e: order(e2e, /faults-|large-mesh|matrix|rbac|render\.|scale|verify/),
  }[process.argv[2] ?? ""];
  if (!files) throw new Error("usage: suites.mjs quick|programs|e2e");
  console.log(files.join("\n"));
}
