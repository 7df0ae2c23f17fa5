/** Containers of our image as processes on this machine, as a kubelet starts them (Linux only). */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { node, programPath } from "./programs.ts";
import type { ApiServer } from "./real-apiservers.ts";
import { type Running, start } from "./real-process.ts";
import { requestToken } from "./service-accounts.ts";

export interface PodOptions {
  /** The cluster of the pod. */
  server: ApiServer;
  namespace: string;
  serviceAccount: string;
  /** An existing folder for files of the pod. */
  folder: string;
}

/**
 * In a mount namespace: the files of the service account, and a root file system that cannot be written. The program runs as
 * the user of the image and without capabilities, if the test may set that.
 */
const SETUP = `
  mount -t tmpfs tmpfs /var/run
  mkdir -p /var/run/secrets/kubernetes.io
  cp -r "$0" /var/run/secrets/kubernetes.io/serviceaccount
  mount -o remount,ro /var/run
  mount -o bind,remount,ro /
  export HOME=/ KUBERNETES_SERVICE_HOST="$1" KUBERNETES_SERVICE_PORT="$2"
  shift 2
  exec "$@"`;
const AS_USER = [
  "setpriv",
  "--reuid=65532",
  "--regid=65532",
  "--clear-groups",
  "--no-new-privs",
  "--bounding-set=-all",
];

/** Starts a container: the program of the image with arguments. */
export async function startContainer(
  name: string,
  args: readonly string[],
  { server, namespace, serviceAccount, folder }: PodOptions,
): Promise<Running> {
  const account = join(folder, `${name}-account`);
  mkdirSync(account, { mode: 0o755 });
  const files = { "ca.crt": server.ca.cert, namespace, token: await requestToken(server, serviceAccount, namespace) };
  for (const [file, text] of Object.entries(files)) writeFileSync(join(account, file), text, { mode: 0o644 });
  const { hostname, port } = new URL(server.url);
  const isRoot = process.getuid?.() === 0;
  const program = [...(isRoot ? AS_USER : []), node, programPath("clustermesh-secrets"), ...args];
  return start(name, "unshare", [isRoot ? "-m" : "-rm", "sh", "-ec", SETUP, account, hostname, port, ...program], {
    folder,
  });
}
