/**
 * The permissions that `rbac` prints, on real API servers: each command works with them, and without each of them it fails
 * with a message that names it, or continues. The results are the table in docs/least-privilege.md.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { CLUSTER_COMMANDS, type ClusterCommand, type Permission } from "../../lib/cilium/permission.ts";
import { PERMISSIONS } from "../../lib/cilium/permissions-table.ts";
import { limitConcurrency } from "../../lib/util/concurrency.ts";
import { callsOf } from "../support/permission-calls.ts";
import { type PermissionMesh, startPermissionMesh } from "../support/permission-mesh.ts";
import {
  declaredLevel,
  describePermission,
  type LevelOf,
  renderManagementTable,
  renderPermissionTable,
  replacePermissionTables,
} from "../support/permission-table.ts";
import { type ProgramResult, run } from "../support/programs.ts";
import { withoutRealServers } from "../support/real.ts";
import {
  applyAccount,
  type RbacManifests,
  type RbacRule,
  waitForRoles,
  writeAccountKubeconfig,
} from "../support/service-accounts.ts";

const PAGE = fileURLToPath(new URL("../../docs/least-privilege.md", import.meta.url));

/** A ServiceAccount with the permissions of a command, or all but one of them. */
interface Account {
  command: ClusterCommand;
  name: string;
  /** The permission that it lacks. */
  without?: Permission;
}

describe("the printed permissions", { skip: withoutRealServers() }, () => {
  let mesh: PermissionMesh;
  const accounts: Account[] = [];
  const results = new Map<Account, ProgramResult[]>();
  const asAdmin = new Map<ClusterCommand, ProgramResult[]>();
  const observed = new Map<Permission, Map<ClusterCommand, ReturnType<LevelOf>>>();

  before(async () => {
    mesh = await startPermissionMesh();
    for (const command of CLUSTER_COMMANDS) accounts.push(...(await createAccounts(command)));
    await waitForRoles(mesh.servers.all);
    // Those that write, one after the other, and last.
    const [reading, writing] = [limitConcurrency(3), limitConcurrency(1)];
    const runs = (commands: readonly ClusterCommand[], enter: typeof reading) => [
      ...commands.map((command) =>
        enter(async () => asAdmin.set(command, await callAll(command, mesh.servers.kubeconfig))),
      ),
      ...accounts
        .filter(({ command }) => commands.includes(command))
        .map((account) =>
          enter(async () => results.set(account, await callAll(account.command, await kubeconfigOf(account.name)))),
        ),
    ];
    await Promise.all(
      runs(
        CLUSTER_COMMANDS.filter((command) => !isWriting(command)),
        reading,
      ),
    );
    await Promise.all(runs(CLUSTER_COMMANDS.filter(isWriting), writing));
    await mesh.reset();
  });
  after(() => mesh?.stop());

  const isWriting = (command: ClusterCommand) => callsOf(command, mesh).writes === true;
  const kubeconfigOf = (name: string) => writeAccountKubeconfig(join(mesh.folder, name), mesh.servers.all, () => name);

  async function callAll(command: ClusterCommand, kubeconfig: string): Promise<ProgramResult[]> {
    const ended: ProgramResult[] = [];
    const { calls, writes } = callsOf(command, mesh);
    for (const [program, ...args] of calls) {
      if (writes) await mesh.reset();
      ended.push(await run(program, args, { kubeconfig, env: { XDG_STATE_HOME: join(mesh.folder, "state") } }));
    }
    return ended;
  }

  /** Applies what `rbac` prints for a command: all, the required permissions only, and all but each of them in turn. */
  async function createAccounts(command: ClusterCommand): Promise<Account[]> {
    const [all, required] = await Promise.all([printManifests(command), printManifests(command, "--no-optional")]);
    const variants = all
      .flatMap(({ rules = [] }) => rules)
      .map((rule, i) => ({ name: `${command}-${i}`, without: permissionOf(rule), manifests: withoutRule(all, rule) }));
    const complete = { name: command, manifests: all };
    const minimal = { name: `${command}-required`, manifests: required };
    return Promise.all(
      [complete, minimal, ...variants].map(async ({ manifests, ...account }) => {
        await Promise.all(mesh.servers.all.map((server) => applyAccount(server, manifests, account.name)));
        return { command, ...account };
      }),
    );
  }

  async function printManifests(command: ClusterCommand, ...flags: string[]): Promise<RbacManifests> {
    const args = ["rbac", "--for", command, "-o", "json", ...callsOf(command, mesh).flags, ...flags];
    const { code, stdout, stderr } = await run("clustermesh-secrets", args);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout).items;
  }

  for (const command of CLUSTER_COMMANDS) {
    test(`${command} works as for an administrator`, () => {
      const [complete, minimal] = accounts.filter((one) => one.command === command && one.without === undefined);
      assert.ok(complete && minimal);
      for (const [i, { code, stderr }] of (asAdmin.get(command) ?? []).entries()) {
        assert.ok(code === 0 || code === 3, stderr);
        const ended: ProgramResult | undefined = results.get(complete)?.[i];
        assert.equal(ended?.code, code, ended?.stderr);
        // A log has times.
        if (!isWriting(command)) assert.equal(ended?.stderr, stderr);
        assert.equal(results.get(minimal)?.[i]?.code, code, results.get(minimal)?.[i]?.stderr);
      }
    });

    test(`${command} without each of its permissions`, () => {
      for (const account of accounts.filter((one) => one.command === command)) {
        const { without } = account;
        if (!without) continue;
        const level = levelOf(account, without);
        assert.equal(level, declaredLevel(without, command), describePermission(without));
        observed.set(without, (observed.get(without) ?? new Map()).set(command, level));
      }
    });
  }

  /**
   * `required` if a call fails and names the permission, `optional` if all calls end as those of an administrator. Calls that
   * run for long may also name what they can do without.
   */
  function levelOf(account: Account, without: Permission): "required" | "optional" {
    const ended = results.get(account) ?? [];
    const isNamed = ended.some(({ stdout, stderr }) => isMissing(without, `${stdout}${stderr}`));
    const codes = ended.map(({ code }) => code);
    const expected = (asAdmin.get(account.command) ?? []).map(({ code }) => code);
    const output = ended.map(({ stderr }) => stderr).join("\n");
    const isSame = JSON.stringify(codes) === JSON.stringify(expected);
    if (isWriting(account.command) && isSame) return "optional";
    if (isNamed)
      assert.ok(
        codes.some((code) => code !== 0),
        `${account.name}\n${output}`,
      );
    else assert.deepEqual(codes, expected, `${account.name}\n${output}`);
    return isNamed ? "required" : "optional";
  }

  test("the results are the table of docs/least-privilege.md", () => {
    const levelOf: LevelOf = (permission, command) => observed.get(permission)?.get(command);
    const tables = { permissions: renderPermissionTable(levelOf), management: renderManagementTable(declaredLevel) };
    const page = readFileSync(PAGE, "utf8");
    const expected = replacePermissionTables(page, tables);
    if (process.env.UPDATE_DOCS === "1") writeFileSync(PAGE, expected);
    else assert.equal(page, expected, "UPDATE_DOCS=1 writes the table");
  });

  test("a mesh is connected, checked and changed with nothing but the printed permissions", async () => {
    const by = async (command: ClusterCommand, ...args: string[]) => {
      const { code, stderr, stdout } = await run("clustermesh-secrets", [command, ...args], {
        kubeconfig: await kubeconfigOf(command),
      });
      assert.equal(code, 0, `${command}\n${stdout}${stderr}`);
      return `${stdout}${stderr}`;
    };
    const contexts = mesh.names.flatMap((name) => ["--context", name]);
    assert.match(await by("connect", ...mesh.names, "--restart-agents", "--yes"), /^cluster3 .*: added cluster2/m);
    await mesh.synchronize();
    assert.match(await by("status", ...mesh.names), /3 clusters, healthy/);
    assert.match(await by("verify", ...contexts), /^6 of 6 peers connect$/m);
    assert.match(await by("import", ...contexts, "--restart-agents", mesh.file), /^cluster1 .*: added cluster4$/m);
    assert.match(await by("disconnect", "cluster4", ...contexts, "--yes"), /^cluster3 .*: removed cluster4$/m);
    assert.match(await by("rotate", "cluster1", ...contexts.slice(2), "--yes"), /^cluster3 .*: unchanged cluster1$/m);
  });

  test("rotate only reads the cluster whose certificates it distributes", async () => {
    const accountOf = (server: string) => (server === "cluster1" ? "status" : "rotate");
    const kubeconfig = await writeAccountKubeconfig(join(mesh.folder, "mixed"), mesh.servers.all, accountOf);
    const args = ["rotate", "cluster1", "--context", "cluster2", "--yes"];
    const { code, stderr } = await run("clustermesh-secrets", args, { kubeconfig });
    assert.equal(code, 0, stderr);
  });
});

function permissionOf({ apiGroups, resources, resourceNames = [], verbs }: RbacRule): Permission {
  const found = PERMISSIONS.find(
    ({ verbs: granted, resource, names, withheld }) =>
      withheld === undefined &&
      JSON.stringify([[resource.group], [resource.plural], names, granted]) ===
        JSON.stringify([apiGroups, resources, resourceNames, verbs]),
  );
  assert.ok(found, JSON.stringify({ apiGroups, resources, resourceNames, verbs }));
  return found;
}

function withoutRule(manifests: RbacManifests, rule: RbacRule): RbacManifests {
  return manifests.map(({ rules, ...object }) => ({
    ...object,
    ...(rules && { rules: rules.filter((one) => one !== rule) }),
  }));
}

/** Whether the output of a command names a missing permission. */
function isMissing({ verbs, resource, names }: Permission, output: string): boolean {
  const kind = resource.kind.toLowerCase();
  const objects = names.map((name) => `${kind}/${name}`);
  return verbs.some((verb) => {
    const named = [...(verb === "create" ? [`${kind}/`] : objects), ...(verb === "list" ? [resource.plural] : [])];
    return named.some((object) => output.includes(`not allowed to ${verb} ${object}`));
  });
}
