/** Which fields of a kubeconfig from a Secret need permission, since whoever may write the Secret decides them. Pure. */
import type { ClusterEntry, UserEntry } from "../kube/kubeconfig/kubeconfig.ts";
import type { RefusedField } from "./cluster-secret-error.ts";

/** What the user permits in kubeconfigs from Secrets. */
export interface MemberPermissions {
  /** Bare names of commands that may run as exec plugins. */
  commands: ReadonlySet<string>;
  /** Whether to permit local files, proxies, connections that are not verified, and the environment of exec plugins. */
  insecure: boolean;
}

const ALLOW_EXEC = "--allow-exec";
const ALLOW_INSECURE = "--allow-insecure-members";

/** Whether a text is the name of a command to look up on PATH: no path, and safe to print in a command line. */
export function isBareCommand(command: string): boolean {
  return /^\w[\w.+-]{0,99}$/.test(command);
}

/**
 * Returns the fields of a user and a cluster that are not permitted:
 *
 * - `exec` and its environment, and `auth-provider`, which run programs or contact other servers;
 * - files, which are read on this machine and sent to the server;
 * - `proxy-url`, which connects to another server;
 * - `insecure-skip-tls-verify`, and a server without TLS, which receive keys of peers without proof of their identity.
 *
 * Nothing permits an auth provider, because a renewed token would have to be written back.
 */
export function findRefusedFields(
  cluster: ClusterEntry,
  user: UserEntry,
  permissions: MemberPermissions,
): RefusedField[] {
  const insecure = Object.entries({
    "certificate-authority": isFile(cluster.ca),
    "client-certificate": isFile(user.cert),
    "client-key": isFile(user.key),
    tokenFile: user.tokenFile !== undefined,
    "exec.env": (user.exec?.env.length ?? 0) > 0,
    "proxy-url": cluster.proxyUrl !== undefined,
    "insecure-skip-tls-verify": cluster.insecure,
    // The scheme defaults to http, as in kubectl.
    server: !/^https:\/\//i.test(cluster.server),
  }).flatMap(([field, isUsed]) => (isUsed && !permissions.insecure ? [{ field, permittedBy: ALLOW_INSECURE }] : []));
  return [...refusedCommand(user, permissions), ...refusedProvider(user), ...insecure];
}

function refusedCommand({ exec }: UserEntry, { commands }: MemberPermissions): RefusedField[] {
  if (!exec || (isBareCommand(exec.command) && commands.has(exec.command))) return [];
  const permittedBy = isBareCommand(exec.command) ? `${ALLOW_EXEC}=${exec.command}` : undefined;
  return [{ field: "exec", permittedBy }];
}

function refusedProvider({ authProvider }: UserEntry): RefusedField[] {
  return authProvider ? [{ field: "auth-provider", permittedBy: undefined }] : [];
}

function isFile(source: UserEntry["cert"]): boolean {
  return source !== undefined && "file" in source;
}
