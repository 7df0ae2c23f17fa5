/** The calls of each command that need its permissions, in the mesh of `permission-mesh.ts`. */
import type { ClusterCommand } from "../../lib/cilium/permission.ts";
import type { PermissionMesh } from "./permission-mesh.ts";

export type Call = readonly [program: string, ...args: string[]];

export interface CommandCalls {
  /** Calls that write nothing, unless they have no dry run, for which the API server checks permissions too. */
  calls: Call[];
  /** Whether the calls write. */
  writes?: true;
  /** Flags of `rbac` for these calls. */
  flags: string[];
}

/** Returns the calls of a command. Together they need each of its permissions. */
export function callsOf(
  command: ClusterCommand,
  { names, file }: Pick<PermissionMesh, "names" | "file">,
): CommandCalls {
  const contexts = (some: readonly string[]) => some.flatMap((name) => ["--context", name]);
  const preview = ["--yes", "--dry-run=server"];
  const restart = "--restart-agents";
  const ours = (...args: string[]): Call => ["clustermesh-secrets", command, ...args];
  switch (command) {
    case "extract":
      return {
        calls: [...names.map((name) => ours(name)), ours("cluster1", "--external-workload")],
        flags: ["--external-workload"],
      };
    case "import":
      return { calls: [ours(...contexts(names), restart, ...preview, file)], flags: [restart] };
    case "connect":
      return { calls: [ours(...names, restart, ...preview)], flags: [restart] };
    case "status":
      return { calls: [ours(...names)], flags: ["--external-workload"] };
    case "verify":
      return { calls: [ours(...contexts(names))], flags: [] };
    case "rotate": {
      const rotations = [
        ["cluster1", "cluster2", "cluster3"],
        ["cluster2", "cluster1"],
      ];
      const calls = rotations.map(([own = "", ...others]) => ours(own, ...contexts(others), restart, ...preview));
      return { calls, flags: [restart] };
    }
    case "render":
      return { calls: names.map((name) => ours("--context", name, "--include-private-keys", file)), flags: [] };
    case "sync": {
      // Of several clusters, one is restarted at a time.
      const pairs = [
        ["cluster1", "cluster3"],
        ["cluster2", "cluster3"],
      ];
      const flags = ["--once", "--yes", restart, "--state=file"];
      return { calls: pairs.map((pair) => ours(...pair, ...flags)), flags: [restart], writes: true };
    }
    case "disconnect":
      return {
        calls: [
          ours("cluster1", ...contexts(["cluster2", "cluster3"]), ...preview),
          ours("cluster2", ...contexts(["cluster1"]), ...preview),
        ],
        flags: [],
      };
  }
}
