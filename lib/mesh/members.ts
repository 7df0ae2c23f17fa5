/** Clusters that are to be written: each read once, as what others extract and as what is imported into. */
import type { KubernetesApi, Subject } from "../cluster/api.ts";
import { configMaps, daemonSets, deployments, secrets } from "../cluster/api.ts";
import { distinct } from "../cluster/distinct.ts";
import { limited } from "../cluster/limited.ts";
import type { Change } from "../exchange/change.ts";
import { EXTRACT_DEFAULTS, peerOf } from "../exchange/extract.ts";
import type { ImportOptions, TargetSource } from "../exchange/import.ts";
import type { Plan } from "../exchange/plan.ts";
import type { Target } from "../exchange/target.ts";
import { UserError } from "../peer/errors.ts";
import { type Finding, finding } from "../peer/findings.ts";
import { readMember, type Seen } from "./member.ts";
import type { MemberSource } from "./status.ts";

/** How many clusters are read at a time. */
const PARALLEL = 16;

/** A cluster that is to be written, with its connection. */
export interface OpenMember extends Seen {
  api: KubernetesApi;
}

export interface ReadOptions {
  namespace?: string | undefined;
  /** How many addresses of a cluster its importers get at the most. */
  addresses?: number;
  /** Read what others need of it too. */
  forExtract: boolean;
  resolve(name: string): Promise<string[]>;
  warn(line: string): void;
}

/** What an import is told by these commands' callers. */
export type WriteOptions = Omit<ImportOptions, "peersFor" | "forbidden">;

/**
 * Reads clusters at the same time. Their connections stay open, for whoever closes them. A cluster that two contexts
 * lead to is taken once.
 *
 * @returns besides, a finding for each that cannot be read, or that others cannot reach, and of each context that is left
 *   out the one that stays for its cluster.
 */
export async function readMembers(
  sources: readonly MemberSource[],
  options: ReadOptions,
): Promise<{ members: OpenMember[]; unread: Finding[]; same: Map<string, string> }> {
  const { members, unread } = await readEach(sources, options);
  const same = new Map<string, string>();
  const once = distinct(
    members,
    ({ target }) => target.identity,
    (stays, { source, api }) => {
      options.warn(`${source}: reaches the same cluster as ${stays.source}, which is taken once`);
      same.set(source, stays.source);
      api.close();
    },
  );
  return { members: once, unread, same };
}

/** As {@link readMembers}, with a member for each context. */
export async function readEach(
  sources: readonly MemberSource[],
  options: ReadOptions,
): Promise<{ members: OpenMember[]; unread: Finding[] }> {
  const enter = limited(PARALLEL);
  const unread: Finding[] = [];
  const read = await Promise.all(
    sources.map(({ source, open }) =>
      enter(async (): Promise<OpenMember[]> => {
        const warn = (line: string) => options.warn(`${source}: ${line}`);
        let api: KubernetesApi | undefined;
        try {
          api = open();
          const member = await readMember(api, source, { ...options, forImport: true, warn });
          const { addresses = EXTRACT_DEFAULTS.addresses, resolve } = options;
          const peer = options.forExtract
            ? await peerOf(member.installation, { ...EXTRACT_DEFAULTS, addresses, resolve, warn })
            : undefined;
          return [{ ...member, peer, api }];
        } catch (error) {
          api?.close();
          if (!(error instanceof UserError)) throw error;
          unread.push(finding("cluster-unreadable", { source }, error.inOneLine));
          return [];
        }
      }),
    ),
  );
  return { members: read.flat(), unread };
}

/** A member as the target of an import: it is read and connected already. */
export function asTarget({ source, api, target }: OpenMember): TargetSource {
  return { source, open: () => api, read: async () => target };
}

/** What the user may not do of a plan, as the cluster's own RBAC says. */
export async function forbidden(api: KubernetesApi, target: Target, { changes }: Plan): Promise<Finding[]> {
  const subjects = new Map(changes.map((change) => [JSON.stringify([change.verb, change.kind, change.name]), change]));
  const missing = await Promise.all(
    [...subjects.values()].map(async (change) => {
      const subject = subjectOf(change, target.namespace);
      const check = await api.missingRight(subject);
      if (check === undefined) return [];
      const message = `not allowed to ${subject.verb} ${change.kind} ${change.name} in namespace ${target.namespace}`;
      return [finding("not-allowed", { source: target.source }, message, `check with: ${check}`)];
    }),
  );
  return missing.flat();
}

function subjectOf({ verb, kind, name }: Change, namespace: string): Subject {
  const resource = { Secret: secrets, ConfigMap: configMaps, Deployment: deployments, DaemonSet: daemonSets }[kind];
  return { verb: verb === "create" ? "create" : "patch", resource, namespace, name };
}
