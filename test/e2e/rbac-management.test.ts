/**
 * The permissions that `rbac` prints for the cluster that others are managed from, on real API servers: commands work with
 * them, and without each of them as the table declares. And `sync` without the permissions that it can do without, or the Lease.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { MANAGEMENT_PERMISSIONS, MEMBER_COMMANDS, STATE_COMMANDS } from "../../lib/cilium/management-permissions.ts";
import type { ClusterCommand, Permission } from "../../lib/cilium/permission.ts";
import { clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import { kubeconfigOf, kubeconfigSecret } from "../support/cluster-secrets.ts";
import { declaredLevel, describePermission } from "../support/permission-table.ts";
import { type ProgramResult, run } from "../support/programs.ts";
import { type ApiServer, type ApiServers, startApiServers, withoutRealServers } from "../support/real.ts";
import { removeFolder, temporaryFolder } from "../support/real-process.ts";
import {
  applyAccount,
  type RbacManifests,
  requestToken,
  waitForRoles,
  writeAccountKubeconfig,
} from "../support/service-accounts.ts";
import { startSyncProcess } from "../support/sync-process.ts";

const NAMES = ["cluster1", "cluster2"];
const NAMESPACE = "mesh";
const SECRETS = ["--clusters-from=secrets", `--clusters-namespace=${NAMESPACE}`];
const CORE = "/api/v1/namespaces/kube-system";
const STATE = ["--state=cluster", `--state-namespace=${NAMESPACE}`];

describe("permissions in the cluster that others are managed from", { skip: withoutRealServers() }, () => {
  let servers: ApiServers;
  let hub: ApiServer;
  let folder: string;
  let file: string;

  before(async () => {
    folder = temporaryFolder("management");
    file = join(folder, "cluster1.json");
    servers = await startApiServers(NAMES);
    hub = servers.get("cluster1");
    await hub.create([{ apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } }]);
    for (const [i, server] of servers.all.entries()) {
      const nodes = [{ name: "node1", internalIPs: [`172.18.${i + 1}.2`] }];
      const description = { name: server.name, id: i + 1, version: "1.20.2", nodes, service: { nodePort: 32_001 + i } };
      await server.create(clusterObjects(description, clusterPki(description, { key: "ec" })));
    }
    const extracted = await as(servers.kubeconfig, ["extract", "cluster1", "--output-file", file]);
    assert.equal(extracted.code, 0, extracted.stderr);
    await describeMembers("admin-token", "admin-token");
  });
  after(async () => {
    await servers?.stop();
    if (folder) removeFolder(folder);
  });

  /** Replaces the Secrets that describe the clusters. */
  async function describeMembers(...tokens: string[]): Promise<void> {
    for (const [i, { name, url, ca }] of servers.all.entries()) {
      const access = { server: url, ca: Buffer.from(ca.cert).toString("base64"), token: tokens[i] ?? "" };
      const { metadata, ...secret } = kubeconfigSecret(name, kubeconfigOf(access));
      await hub.request("DELETE", `/api/v1/namespaces/${NAMESPACE}/secrets/${name}`);
      await hub.create([{ ...secret, metadata: { ...metadata, namespace: NAMESPACE } }]);
    }
  }

  const as = (kubeconfig: string, args: readonly string[]) => run("clustermesh-secrets", args, { kubeconfig });

  /** Calls of a command that read the Secrets, and the state if the command uses it. */
  function callsOf(command: ClusterCommand): string[][] {
    const preview = ["--yes", "--dry-run=server"];
    const calls: Partial<Record<ClusterCommand, string[][]>> = {
      extract: [["extract", "cluster2", ...SECRETS]],
      import: [["import", "--context=cluster2", file, "--dry-run=server", ...SECRETS]],
      connect: [["connect", ...preview, ...SECRETS]],
      status: [
        ["status", ...SECRETS],
        ["status", "--sync", ...STATE],
      ],
      verify: [["verify", ...SECRETS]],
      rotate: [["rotate", "cluster1", ...preview, ...SECRETS]],
      disconnect: [["disconnect", "cluster1", ...preview, ...SECRETS]],
      // The first call creates the state and the Lease, the second changes them.
      sync: [1, 2].map(() => ["sync", "--once", "--yes", ...SECRETS, ...STATE]),
    };
    return calls[command] ?? [];
  }

  async function callAll(command: ClusterCommand, kubeconfig: string): Promise<ProgramResult[]> {
    if (command === "sync") {
      await hub.request("DELETE", `/api/v1/namespaces/${NAMESPACE}/configmaps/clustermesh-secrets-sync`);
      await hub.request(
        "DELETE",
        `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases/clustermesh-secrets-sync`,
      );
    }
    const ended: ProgramResult[] = [];
    for (const args of callsOf(command)) ended.push(await as(kubeconfig, args));
    return ended;
  }

  async function printManifests(command: ClusterCommand, ...flags: string[]): Promise<RbacManifests> {
    const usesState = STATE_COMMANDS.includes(command) ? [`--state-namespace=${NAMESPACE}`] : [];
    const account = ["--service-account-namespace=kube-system", "-o", "json", ...flags];
    const { code, stdout, stderr } = await as("/nonexistent", [
      "rbac",
      "--for",
      command,
      ...SECRETS,
      ...usesState,
      ...account,
    ]);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout).items;
  }

  /** Applies manifests without some of their rules, and returns a kubeconfig of the account. */
  async function createAccount(name: string, manifests: RbacManifests, without?: unknown): Promise<string> {
    const reduced = manifests.map(({ rules, ...object }) => ({
      ...object,
      ...(rules && { rules: rules.filter((rule) => rule !== without) }),
    }));
    await applyAccount(hub, reduced, name);
    await waitForRoles([hub]);
    return writeAccountKubeconfig(join(folder, name), [hub], () => name);
  }

  for (const command of MEMBER_COMMANDS) {
    test(`${command} with the printed permissions, and without each of them`, async () => {
      if (command === "status") await callAll("sync", hub.kubeconfig);
      const expected = await callAll(command, hub.kubeconfig);
      assert.ok(expected.length > 0);
      for (const { code, stderr } of expected) assert.ok(code === 0 || code === 3, stderr);
      const codes = expected.map(({ code }) => code);
      const manifests = await printManifests(command);
      const complete = await callAll(command, await createAccount(`${command}-all`, manifests));
      assert.deepEqual(
        complete.map(({ code }) => code),
        codes,
        complete.map(({ stderr }) => stderr).join("\n"),
      );
      for (const [i, rule] of manifests.flatMap(({ rules = [] }) => rules).entries()) {
        const permission = MANAGEMENT_PERMISSIONS.find(
          ({ verbs, resource, names }) =>
            JSON.stringify([verbs, resource.plural, names]) ===
            JSON.stringify([rule.verbs, rule.resources[0], rule.resourceNames ?? []]),
        );
        assert.ok(permission, JSON.stringify(rule));
        const ended = await callAll(command, await createAccount(`${command}-${i}`, manifests, rule));
        assert.equal(
          levelOf(permission, ended, codes),
          declaredLevel(permission, command),
          describePermission(permission),
        );
      }
    });
  }

  test("sync without what it can do without notices changes at its interval, and names what it may not watch", async (t) => {
    const optional = "--no-optional";
    const account = "required";
    const member = await as("/nonexistent", ["rbac", "--for", "sync", "-n", "kube-system", "-o", "json", optional]);
    for (const server of servers.all) await applyAccount(server, JSON.parse(member.stdout).items, account);
    await waitForRoles(servers.all);
    await describeMembers(...(await Promise.all(servers.all.map((server) => requestToken(server, account)))));
    t.after(() => describeMembers("admin-token", "admin-token"));
    const kubeconfig = await createAccount("hub", await printManifests("sync", optional));
    const args = ["--yes", ...SECRETS, "--state=file", "--interval=1s", "--settle=100ms"];
    const sync = await startSyncProcess(args, { kubeconfig });
    t.after(() => sync.close());
    const denied = (object: string) =>
      sync.until(
        `a denial of ${object}`,
        ({ event, error }) => event === "watch-restarted" && String(error).includes(object),
      );
    await denied("not allowed to list secret/cilium-clustermesh");
    await sync.eventually("peers", async () => (await peersOf("cluster1")).includes("cluster2"));
    await hub.ask("DELETE", `${CORE}/secrets/cilium-kvstoremesh`);
    await sync.eventually("peers again", async () => (await peersOf("cluster1")).includes("cluster2"));
    assert.deepEqual([sync.isRunning, await sync.stop()], [true, 0]);
  });

  test("a single round does not wait for ever while another sync runs", async (t) => {
    const args = ["--yes", ...SECRETS, ...STATE];
    const sync = await startSyncProcess(args, { kubeconfig: hub.kubeconfig });
    t.after(() => sync.close());
    await sync.until("a leader", ({ event }) => event === "leading");
    const { code, stderr } = await as(hub.kubeconfig, ["sync", "--once", ...args]);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /^error: sync already runs: \S+ holds the Lease$/m);
    assert.equal(await sync.stop(), 0);
    assert.equal((await as(hub.kubeconfig, ["sync", "--once", ...args])).code, 0);
  });

  const peersOf = async (name: string): Promise<string[]> => {
    const { body } = await servers.get(name).request("GET", `${CORE}/secrets/cilium-kvstoremesh`);
    return NAMES.filter((other) => body.data?.[other] !== undefined);
  };

  /** `required` if a call fails and names the permission, `optional` if all calls end as those of an administrator. */
  function levelOf(
    { verbs, resource }: Permission,
    ended: readonly ProgramResult[],
    codes: readonly (number | null)[],
  ): string {
    if (JSON.stringify(ended.map(({ code }) => code)) === JSON.stringify(codes)) return "optional";
    const output = ended.map(({ stdout, stderr }) => `${stdout}${stderr}`).join("\n");
    assert.match(
      output,
      new RegExp(`not allowed to (?:${verbs.join("|")}) (?:${resource.plural}|${resource.kind}/)`, "i"),
    );
    return "required";
  }
});
