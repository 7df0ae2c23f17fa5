/** What runs in a cluster: the jobs of deploy/, and the image of the Containerfile. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { V1PodSpec } from "@kubernetes/client-node";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import { JOBS_FOLDER, PRINTED_MANIFESTS, podOf, readJobManifests } from "../support/job-manifests.ts";
import { node, run } from "../support/programs.ts";
import { PRINTED_SYNC_MANIFESTS, parseManifests, readSyncNodeOptions, SYNC_FOLDER } from "../support/sync-manifests.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Whether files are what `rbac` prints, which UPDATE_DOCS=1 makes them. */
function testPrinted(folder: string, printed: Readonly<Record<string, string[]>>): void {
  for (const [file, args] of Object.entries(printed)) {
    test(`${file} is what rbac prints`, async () => {
      const { stdout } = await run("clustermesh-secrets", ["rbac", ...args]);
      const path = join(folder, file);
      if (process.env.UPDATE_DOCS === "1") writeFileSync(path, stdout);
      assert.equal(readFileSync(path, "utf8"), stdout, "UPDATE_DOCS=1 writes it");
    });
  }
}

/** Asserts that a pod meets the restricted Pod Security Standard, and has a read-only root file system. */
function assertRestricted({ securityContext, containers, volumes = [] }: V1PodSpec): void {
  assert.equal(securityContext?.runAsNonRoot, true);
  assert.deepEqual(securityContext.seccompProfile, { type: "RuntimeDefault" });
  assert.deepEqual(volumes, []);
  for (const { securityContext } of containers) {
    assert.deepEqual(securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
  }
}

describe("deploy/jobs", () => {
  testPrinted(JOBS_FOLDER, PRINTED_MANIFESTS);

  test("every pod meets the restricted Pod Security Standard, and has a read-only root file system", () => {
    const pods = readJobManifests().flatMap((object) => podOf(object) ?? []);
    assert.equal(pods.length, 2);
    for (const pod of pods) {
      assertRestricted(pod);
      assert.match(pod.serviceAccountName ?? "", /^clustermesh-/);
    }
  });

  test("no job reads a private key that its command does not need", () => {
    const rules = readJobManifests().flatMap(({ metadata, rules = [] }) =>
      metadata.name === "clustermesh-extract" ? rules : [],
    );
    assert.ok(rules.length > 3);
    assert.ok(rules.every(({ resources }: { resources: string[] }) => !resources.includes("secrets")));
  });
});

describe("deploy/sync", () => {
  testPrinted(SYNC_FOLDER, PRINTED_SYNC_MANIFESTS);

  const read = (file: string) => parseManifests(readFileSync(join(SYNC_FOLDER, file), "utf8"));
  const [deployment] = read("deployment.yaml");
  assert.ok(deployment);
  const pod = podOf(deployment);

  test("its pods meet the restricted Pod Security Standard, which the namespace enforces", () => {
    assert.ok(pod);
    assertRestricted(pod);
    const [namespace] = read("namespace.yaml");
    assert.equal(namespace?.metadata.labels?.["pod-security.kubernetes.io/enforce"], "restricted");
    assert.equal(deployment.metadata.namespace, namespace?.metadata.name);
  });

  test("its account reads no private key of a cluster of the mesh, and the accounts differ", () => {
    const [own, member] = [read("rbac.yaml"), read("member/rbac.yaml")];
    const names = (objects: KubernetesObject[]) => objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    assert.deepEqual(
      names(own).filter((name) => names(member).includes(name)),
      [],
    );
    assert.ok(own.every(({ kind }) => !kind.startsWith("Cluster")));
    assert.equal(pod?.serviceAccountName, own.find(({ kind }) => kind === "ServiceAccount")?.metadata.name);
  });

  test("Node accepts the NODE_OPTIONS of its pods, which set the size of the young generation", async () => {
    const env = { NODE_OPTIONS: readSyncNodeOptions() };
    const fill = "const kept = []; for (let i = 0; i < 2e6; i++) kept.push({ i });";
    const space = "v8.getHeapSpaceStatistics().find((one) => one.space_name === 'new_space')";
    const { stdout } = await promisify(execFile)(node, ["-p", `${fill} ${space}.space_size`], { env });
    // Two semi-spaces, of 1 MiB in a container of 512 MiB, and of 16 MiB outside of one.
    const mebibytes = Number(stdout) / 1_048_576;
    assert.ok(mebibytes > 2 && mebibytes <= 8, stdout);
  });

  test("probes and ports are those of --listen", () => {
    const [container] = pod?.containers ?? [];
    const [port] = container?.ports ?? [];
    assert.equal(container?.args?.includes(`--listen=:${port?.containerPort}`), true);
    assert.deepEqual(
      [container?.livenessProbe, container?.readinessProbe].map((probe) => [
        probe?.httpGet?.path,
        probe?.httpGet?.port,
      ]),
      [
        ["/healthz", port?.name],
        ["/readyz", port?.name],
      ],
    );
  });
});

interface Instruction {
  name: string;
  args: string[];
}

/** The instructions of the Containerfile by stage. Each is on one line, which the first test checks. */
function readStages(): Instruction[][] {
  const lines = readFileSync(join(root, "Containerfile"), "utf8").split("\n");
  const stages: Instruction[][] = [];
  for (const line of lines.filter((one) => one !== "" && !one.startsWith("#"))) {
    const [name = "", ...args] = line.split(" ");
    if (name === "FROM") stages.push([]);
    stages.at(-1)?.push({ name, args });
  }
  return stages;
}

describe("Containerfile", () => {
  const stages = readStages();
  const [build = [], image = []] = stages;
  const all = stages.flat();
  const named = (instructions: readonly Instruction[], wanted: string) =>
    instructions.filter(({ name }) => name === wanted);

  test("has two stages of one image with a version, and simple instructions only", () => {
    assert.equal(stages.length, 2);
    const allowed = ["FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "ENTRYPOINT", "CMD"];
    assert.deepEqual([...new Set(all.map(({ name }) => name))].sort(), allowed.sort());
    assert.ok(all.every(({ args }) => args.length > 0 && args.at(-1) !== "\\"));
    const bases = named(all, "FROM").map(({ args }) => args[0] ?? "");
    assert.equal(new Set(bases).size, 1);
    assert.match(bases[0] ?? "", /^[\w.-]+\/library\/node:\d+-[a-z]+-slim$/);
  });

  test("runs as a numeric user other than root, and downloads nothing but packages", () => {
    const [user] = named(image, "USER");
    assert.match(user?.args.join() ?? "", /^[1-9]\d*:[1-9]\d*$/);
    assert.ok(image.indexOf(user as Instruction) > image.findLastIndex(({ name }) => name === "RUN"));
    for (const { args } of named(image, "RUN").concat(named(image, "ENTRYPOINT"), named(image, "CMD"))) {
      assert.ok(Array.isArray(JSON.parse(args.join(" "))), "exec form");
    }
    assert.ok(named(all, "RUN").every(({ args }) => !/\b(?:curl|wget|apt(?:-get)?|sudo)\b/.test(args.join(" "))));
  });

  test("installs exactly the lock file, without scripts of packages", () => {
    const installs = named(build, "RUN").filter(({ args }) => args[0] === "npm");
    assert.deepEqual(
      installs.map(({ args }) => args.slice(1, 3)),
      [["ci", "--ignore-scripts"]],
    );
  });

  test("copies named paths that exist, and .dockerignore lets through nothing else", () => {
    const sources = named(all, "COPY")
      .filter(({ args }) => !args[0]?.startsWith("--"))
      .flatMap(({ args }) => args.slice(0, -1));
    assert.deepEqual(
      sources.filter((path) => path === "." || !existsSync(join(root, path))),
      [],
    );
    const patterns = readFileSync(join(root, ".dockerignore"), "utf8")
      .split("\n")
      .filter((line) => /^[^#]/.test(line));
    assert.deepEqual(patterns.sort(), ["*", ...sources.map((path) => `!${path}`)].sort());
  });

  test("has all that the build needs, and all that the programs need", async (t) => {
    const dir = await mkdtemp(join(tmpdir(), "container-"));
    t.after(() => rm(dir, { recursive: true, force: true }));
    const [source, installed] = [join(dir, "src"), join(dir, "image")];
    for (const { args } of named(build, "COPY")) copyInto(args, root, source);
    symlinkSync(join(root, "node_modules"), join(source, "node_modules"));
    await promisify(execFile)(node, ["build.mjs"], { cwd: source });
    for (const { args } of named(image, "COPY")) {
      const [first = "", ...others] = args;
      if (first === "--from=build") copyInto(others, dir, installed);
      else copyInto(args, root, installed);
    }
    const program = join(installed, "opt/clustermesh-secrets/bin/clustermesh-secrets.cjs");
    const { stdout } = await promisify(execFile)(node, [program, "--help"], { env: { PATH: "" } });
    assert.match(stdout, /^Exchange Cilium Cluster Mesh secrets/);
    const printed = await promisify(execFile)(node, [program, "rbac", "--for", "status"], { env: { PATH: "" } });
    assert.match(printed.stdout, /^kind: ServiceAccount$/m);
  });
});

/** Copies as COPY does: a file into a folder whose path ends with a slash, else to the path; of a folder its content. */
function copyInto(args: readonly string[], from: string, to: string): void {
  const target = args.at(-1) ?? "";
  for (const source of args.slice(0, -1)) {
    const path = target.endsWith("/") ? join(to, target, basename(source)) : join(to, target);
    mkdirSync(dirname(path), { recursive: true });
    cpSync(join(from, source), path, { recursive: true });
  }
}
