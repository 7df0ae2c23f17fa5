/** Safeguards of import-secrets: previews, confirmations and ownership. Run on the sandbox and on real API servers. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import type { V1ConfigMap, V1Secret } from "@kubernetes/client-node";
import { parseAllDocuments } from "yaml";
import { run } from "./programs.ts";

/** Contexts of {@link Clusters}. */
export const CAREFUL = ["c1", "c2", "c3"];

/** Describes a cluster with Cilium 1.20. */
export function carefulCluster(name: string) {
  const nodes = [{ name: "n", internalIPs: ["172.18.4.2"] }];
  return { name, id: CAREFUL.indexOf(name) + 1, version: "1.20.2", nodes };
}

type Kind = "Secret" | "ConfigMap";

/** Three clusters, with a context named after each. */
export interface Clusters {
  kubeconfig: string;
  /** Undefined if the object does not exist. */
  read(context: string, kind: Kind, name: string): Promise<object | undefined>;
  create(context: string, object: object): Promise<void>;
  /** Removes the object if it exists. */
  remove(context: string, kind: Kind, name: string): Promise<void>;
  stop(): Promise<void>;
}

const OBJECTS = [
  ["Secret", "cilium-clustermesh"],
  ["Secret", "cilium-kvstoremesh"],
  ["ConfigMap", "clustermesh-remote-users"],
] as const;

/** Declares the tests; `start` runs before them. */
export function carefulTests(
  title: string,
  start: () => Promise<Clusters>,
  options: { skip?: string | false } = {},
): void {
  describe(title, options, () => {
    let clusters: Clusters;
    let dir: string;
    const file = (name: string) => join(dir, `${name}.json`);
    const runImport = (...args: string[]) => run("import-secrets", args, { kubeconfig: clusters.kubeconfig, cwd: dir });
    const secret = async (name: string) => (await clusters.read("c1", "Secret", name)) as V1Secret | undefined;
    const readPeerNames = async () => {
      const found = await Promise.all(["cilium-clustermesh", "cilium-kvstoremesh"].map(secret));
      return found.map((one) =>
        Object.keys(one?.data ?? {})
          .filter((key) => !key.includes("."))
          .sort(),
      );
    };
    /** Returns the resource versions of the objects, which are equal if nothing was written. */
    const readVersions = async (context = "c1") => {
      const found = await Promise.all(OBJECTS.map(([kind, name]) => clusters.read(context, kind, name)));
      return found.map((one) => (one as V1Secret | undefined)?.metadata?.resourceVersion);
    };

    before(async () => {
      clusters = await start();
      dir = await mkdtemp(join(tmpdir(), "careful-"));
      for (const context of CAREFUL) {
        const args = ["--context", context, "--output-file", file(context)];
        const { code, stderr } = await run("extract-secret", args, { kubeconfig: clusters.kubeconfig });
        assert.equal(code, 0, stderr);
      }
    });
    after(async () => {
      await clusters?.stop();
      if (dir) await rm(dir, { recursive: true, force: true });
    });
    beforeEach(async () => {
      for (const context of ["c1", "c3"]) {
        for (const [kind, name] of OBJECTS) await clusters.remove(context, kind, name);
      }
    });

    test("--diff has the exit codes of kubectl diff and writes nothing", async () => {
      const args = ["--context", "c1", "--context", "c3", "--diff", file("c2")];
      const changes = await runImport(...args);
      assert.equal(changes.code, 1, changes.stderr);
      assert.match(changes.stdout, /^\+\+\+ planned\/c1\/kube-system\/Secret\/cilium-kvstoremesh$/m);
      assert.match(changes.stdout, /^\+\+\+ planned\/c3\/kube-system\/Secret\/cilium-kvstoremesh$/m);
      assert.doesNotMatch(changes.stdout, /PRIVATE KEY|LS0tLS1CRUdJ/);
      assert.deepEqual(await readVersions(), [undefined, undefined, undefined]);
      assert.deepEqual(await readVersions("c3"), [undefined, undefined, undefined]);
      assert.equal((await runImport(...args.filter((arg) => arg !== "--diff"))).code, 0);
      const none = await runImport(...args);
      assert.deepEqual([none.code, none.stdout, none.stderr], [0, "", ""]);
      const trouble = await runImport("--context", "c1", "--diff", "nowhere.json");
      assert.deepEqual([trouble.code, trouble.stdout], [2, ""]);
      assert.equal((await runImport("--context", "nowhere", "--diff", file("c2"))).code, 2);
    });

    test("--dry-run prints the same objects with client and server, and writes nothing", async () => {
      const printed = new Map<string, unknown[]>();
      for (const mode of ["client", "server"]) {
        const { code, stdout, stderr } = await runImport(
          "--context",
          "c1",
          `--dry-run=${mode}`,
          "-o",
          "yaml",
          file("c2"),
        );
        assert.equal(code, 0, stderr);
        assert.match(stderr, /would add c2 \(dry run\)/);
        assert.doesNotMatch(stderr, /Secrets written|: added/);
        printed.set(
          mode,
          parseAllDocuments(stdout).map((document) => {
            const { kind, metadata, data } = document.toJS();
            assert.equal(metadata.annotations["clustermesh-secrets/context"], "c1");
            assert.equal("uid" in metadata, false, metadata.name);
            return { kind, name: metadata.name, data };
          }),
        );
      }
      assert.deepEqual(printed.get("client"), printed.get("server"));
      assert.equal(printed.get("client")?.length, 3);
      assert.deepEqual(await readPeerNames(), [[], []]);
      const real = await runImport("--context", "c1", "-o", "json", file("c2"));
      assert.equal(JSON.parse(`${real.stdout.split(/^}$/m)[0]}}`).metadata.name, "cilium-kvstoremesh");
      assert.deepEqual(await readPeerNames(), [["c2"], ["c2"]]);
    });

    test("--prune requires --yes without a terminal and removes all peers that are not in the files", async () => {
      assert.equal((await runImport("--context", "c1", file("c2"), file("c3"))).code, 0);
      const unconfirmed = await runImport("--context", "c1", "--prune", file("c3"));
      assert.equal(unconfirmed.code, 2);
      assert.match(
        unconfirmed.stderr,
        /^c1: will remove c2; will revoke etcd users remote-c2\nerror: refusing to remove peers without confirmation: .*; pass --yes\n/,
      );
      assert.match(unconfirmed.stderr, /nothing was written\n$/);
      assert.deepEqual(await readPeerNames(), [
        ["c2", "c3"],
        ["c2", "c3"],
      ]);
      const confirmed = await runImport("--context", "c1", "--prune", "--yes", file("c3"));
      assert.equal(confirmed.code, 0, confirmed.stderr);
      assert.deepEqual(await readPeerNames(), [["c3"], ["c3"]]);
      assert.equal(
        ((await clusters.read("c1", "ConfigMap", "clustermesh-remote-users")) as V1ConfigMap).data?.["users.yaml"],
        "users:\n  - name: remote-c3\n    role: remote\n",
      );
      const everything = await runImport("--context", "c1", "--prune", "--yes", file("c1"));
      assert.equal(everything.code, 2);
      assert.match(everything.stderr, /would remove every peer \[prune-everything\]/);
    });

    test("--migrate without files announces its changes and is idempotent", async () => {
      assert.equal((await runImport("--context", "c1", file("c2"), file("c3"))).code, 0);
      // The state after an upgrade: the agents' Secret configures the peers, and kvstoremesh has no configuration.
      const remote = (await secret("cilium-kvstoremesh")) as V1Secret;
      for (const name of ["cilium-kvstoremesh", "cilium-clustermesh"]) await clusters.remove("c1", "Secret", name);
      const { annotations = {}, namespace = "" } = remote.metadata ?? {};
      await clusters.create("c1", { ...remote, metadata: { name: "cilium-clustermesh", namespace, annotations } });
      const first = await runImport("--context", "c1", "--migrate");
      assert.equal(first.code, 0, first.stderr);
      assert.match(
        first.stderr,
        /^c1: will move to another Secret: c2 and c3\nc1 \(Cilium 1\.20\.2, KVStoreMesh\): moved to another Secret: c2 and c3$/m,
      );
      assert.deepEqual(await readPeerNames(), [
        ["c2", "c3"],
        ["c2", "c3"],
      ]);
      const before = await readVersions();
      const second = await runImport("--context", "c1", "--migrate");
      assert.equal(second.code, 0, second.stderr);
      assert.match(second.stderr, /unchanged c2 and c3\nnothing written/);
      assert.deepEqual(await readVersions(), before);
    });

    test("--endpoint persists across imports, which report it, until it is reset", async () => {
      assert.equal((await runImport("--context", "c1", "--endpoint", "c2=10.1.1.1:2379", file("c2"))).code, 0);
      const config = async () => Buffer.from((await secret("cilium-kvstoremesh"))?.data?.c2 ?? "", "base64").toString();
      assert.match(await config(), /- 10\.1\.1\.1$/m);
      const again = await runImport("--context", "c1", file("c2"));
      assert.match(
        again.stderr,
        /unchanged c2\n {2}endpoint of c2: 10\.1\.1\.1:2379, set by an earlier --endpoint; to reset it:\n {4}import-secrets --context c1 --endpoint c2= FILE\n/,
      );
      assert.equal((await runImport("--context", "c1", "--endpoint", "c2=", file("c2"))).code, 0);
      assert.match(await config(), /- 172\.18\.4\.2$/m);
      for (const [value, expected] of [
        ["c2", /invalid value "c2" for --endpoint: must be NAME=HOST:PORT/],
        ["C2=a:1", /invalid value "C2=a:1" for --endpoint: must be NAME=HOST:PORT/],
        ["c2=a", /invalid value "a" for --endpoint: must be HOST:PORT/],
        ["c9=10.1.1.1:1", /unknown peer c9/],
        ["c2=nowhere.invalid:1", /cannot resolve nowhere\.invalid on this machine/],
      ] as const) {
        const { code, stderr } = await runImport("--context", "c1", "--endpoint", value, file("c2"));
        assert.ok(code === 2 || (code === 1 && value.includes("nowhere")), `${value}: ${code}`);
        assert.match(stderr, expected, value);
      }
    });

    for (const [owner, marks, keep] of [
      [
        "Helm release cilium",
        { annotations: { "meta.helm.sh/release-name": "cilium" } },
        { "helm.sh/resource-policy": "keep" },
      ],
      [
        "Argo CD application mesh",
        { labels: { "argocd.argoproj.io/instance": "mesh" } },
        { "argocd.argoproj.io/sync-options": "Prune=false" },
      ],
      [
        "SealedSecret x",
        { ownerReferences: [{ apiVersion: "bitnami.com/v1alpha1", kind: "SealedSecret", name: "x", uid: "1" }] },
        {},
      ],
    ] as const) {
      test(`a Secret owned by ${owner} is refused, and taken over with --take-ownership`, async () => {
        const metadata = { name: "cilium-clustermesh", namespace: "kube-system", ...marks };
        await clusters.create("c1", { apiVersion: "v1", kind: "Secret", metadata, type: "Opaque" });
        const before = await readVersions();
        const refused = await runImport("--context", "c1", file("c3"));
        assert.equal(refused.code, 2);
        const finding = `secret/cilium-clustermesh belongs to ${owner}, which would revert the changes [owned-by-other]\n`;
        assert.ok(refused.stderr.includes(finding), refused.stderr);
        assert.deepEqual(await readVersions(), before);
        const taken = await runImport("--context", "c1", "--take-ownership", file("c3"));
        assert.equal(taken.code, 0, taken.stderr);
        const {
          labels = {},
          annotations = {},
          ownerReferences = [],
        } = (await secret("cilium-clustermesh"))?.metadata ?? {};
        assert.deepEqual([labels, ownerReferences], [{}, []]);
        assert.deepEqual(annotations, { ...keep, "clustermesh-secrets/taken-from": owner });
        assert.equal((await runImport("--context", "c1", file("c2"))).code, 0, "no owner is left");
      });
    }
  });
}
