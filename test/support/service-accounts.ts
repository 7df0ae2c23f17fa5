/** ServiceAccounts of printed manifests on real API servers, with tokens as pods have them. */
import { writeFileSync } from "node:fs";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import type { ApiServer, Rule } from "./real-apiservers.ts";
import { waitFor } from "./real-process.ts";

/** A rule of a role. */
export type RbacRule = Rule;

/** Manifests as `rbac -o json` prints them. */
export type RbacManifests = readonly (KubernetesObject & { rules?: RbacRule[] })[];

/**
 * Applies manifests with their names replaced.
 *
 * @param account - the name of the ServiceAccount, its roles and bindings.
 */
export async function applyAccount(server: ApiServer, manifests: RbacManifests, account: string): Promise<void> {
  await server.apply(
    manifests.map(({ metadata, roleRef, subjects, ...object }) => ({
      ...object,
      metadata: { ...metadata, name: account },
      ...(roleRef && { roleRef: { ...roleRef, name: account } }),
      ...(subjects && { subjects: subjects.map((one: object) => ({ ...one, name: account })) }),
    })),
  );
}

/** Requests a token of a ServiceAccount. */
export async function requestToken(server: ApiServer, account: string, namespace = "kube-system"): Promise<string> {
  const request = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} };
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`;
  return (await server.ask("POST", path, request)).status.token;
}

/**
 * Writes a kubeconfig with a context per server, as a ServiceAccount of each.
 *
 * @param accountOf - returns the name of the ServiceAccount for a server.
 */
export async function writeAccountKubeconfig(
  path: string,
  servers: readonly ApiServer[],
  accountOf: (server: string) => string,
): Promise<string> {
  const tokens = await Promise.all(servers.map((server) => requestToken(server, accountOf(server.name))));
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": servers[0]?.name,
    clusters: servers.map(({ name, url, ca }) => ({
      name,
      cluster: { server: url, "certificate-authority-data": Buffer.from(ca.cert).toString("base64") },
    })),
    users: servers.map(({ name }, i) => ({ name, user: { token: tokens[i] } })),
    contexts: servers.map(({ name }) => ({ name, context: { cluster: name, user: name } })),
  };
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  return path;
}

/** Waits until the authorizer of each server knows all roles that were applied before. */
export async function waitForRoles(servers: readonly ApiServer[]): Promise<void> {
  const rules = [{ apiGroups: [""], resources: ["endpoints"], verbs: ["list"] }];
  for (const server of servers) {
    await server.allow("nobody", rules);
    await server.allow("nobody", rules, "kube-system");
    const review = async (namespace: string | undefined) => {
      const spec = { user: "nobody", resourceAttributes: { namespace, resource: "endpoints", verb: "list" } };
      const body = { apiVersion: "authorization.k8s.io/v1", kind: "SubjectAccessReview", spec };
      return (await server.ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)).status.allowed;
    };
    await waitFor(
      `the roles of ${server.name}`,
      async () => (await review(undefined)) && (await review("kube-system")),
    );
  }
}
