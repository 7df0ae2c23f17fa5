/** Flags that several commands have. */
import type { Option } from "./option.ts";

/** Options by which every program reaches a cluster; their names are kubectl's. */
export const clusterOptions = {
  kubeconfig: {
    type: "string",
    describe: "path of the kubeconfig; else KUBECONFIG, else ~/.kube/config",
    completes: "files",
  },
  namespace: { type: "string", alias: "n", describe: "Cilium's namespace; else it is looked for" },
  as: { type: "string", describe: "user to impersonate" },
  "as-group": { type: "array", string: true, describe: "group to impersonate (repeatable)" },
  "as-uid": { type: "string", describe: "uid to impersonate" },
  "request-timeout": { type: "string", default: "30s", describe: "how long one request may take; 0 for no limit" },
  debug: { type: "boolean", default: false, describe: "tell each request, and a stack where one goes wrong" },
} as const satisfies Record<string, Option>;

/** `--filename`, besides arguments. */
export const filenameOption = {
  type: "array",
  string: true,
  alias: "f",
  describe: "file, folder or - (repeatable), besides arguments",
  completes: "files",
} as const;

/** `--all-contexts`. */
export const allContextsOption = {
  type: "boolean",
  default: false,
  describe: "every context of the kubeconfig",
} as const;

/** `--wait` for a healthy mesh, and `--timeout`. */
export const waitOptions = {
  wait: { type: "boolean", default: false, describe: "return when the mesh is healthy" },
  timeout: { type: "string", default: "5m", describe: "how long --wait waits" },
} as const;

/** `--details` of the commands whose reports are otherwise summed up. */
export const detailsOption = {
  type: "boolean",
  default: false,
  describe: "list every cluster, peer and finding by itself",
} as const;

export const failOnOption = {
  type: "string",
  choices: ["error", "warning"],
  default: "error",
  describe: "which findings make the exit code 3",
} as const;

export const expiresWithinOption = {
  type: "string",
  default: "30d",
  describe: "warn of certificates that expire within this time",
} as const;

export const outputOption = {
  type: "string",
  alias: "o",
  choices: ["json", "yaml"],
  describe: "print all of it, for programs; without private keys",
} as const;
