/** Constructors of flags, the flags that several commands share, and their exit codes. */
import { SECRET_FORMATS } from "../../lib/members/format-names.ts";
import type { Option } from "./option.ts";

type Flag<T extends Option["type"], M> = { readonly type: T; readonly describe: string } & M;
type Details = Omit<Partial<Option>, "type" | "describe">;

export const flag = {
  /** A flag that is off unless it is given. */
  boolean: (describe: string) => ({ type: "boolean", default: false, describe }) as const,

  /** A flag that is on unless it is negated. */
  enabled: (describe: string) => ({ type: "boolean", default: true, describe }) as const,

  /** A flag with one value. */
  string: <const M extends Details = Record<never, never>>(describe: string, details?: M): Flag<"string", M> => ({
    ...{ type: "string", describe },
    ...(details as M),
  }),

  /** A flag that can be repeated. */
  list: <const M extends Details = Record<never, never>>(describe: string, details?: M): Flag<"array", M> => ({
    ...{ type: "array", describe },
    ...(details as M),
  }),

  /** A flag whose value is the name of a context. */
  context: (describe: string) => ({ type: "string", describe, completes: "contexts" }) as const,

  /** A flag whose values are names of contexts. */
  contexts: (describe: string) => ({ type: "array", describe, completes: "contexts" }) as const,

  /** A flag whose value is the path of a file. */
  file: (describe: string) => ({ type: "string", describe, completes: "files" }) as const,

  /** A flag whose value is a positive integer. */
  count: (describe: string, defaultValue: number) =>
    ({ type: "number", min: 1, default: defaultValue, describe }) as const,
};

/** Lists flags under a heading of the help text. Headings appear in the order of their first flag. */
export function inGroup<const O extends Record<string, Option>>(heading: string, options: O): O {
  const grouped = Object.entries(options).map(([name, option]) => [name, { ...option, group: `${heading}:` }]);
  return Object.fromEntries(grouped) as O;
}

/** How a command connects to clusters, with kubectl's flag names. */
export const clusterOptions = {
  ...inGroup("Connection", {
    kubeconfig: flag.file("kubeconfig file; default: KUBECONFIG, then ~/.kube/config"),
    namespace: flag.string("namespace of Cilium; default: detected", { alias: "n" }),
    as: flag.string("user to impersonate"),
    "as-group": flag.list("group to impersonate (repeatable)"),
    "as-uid": flag.string("UID to impersonate"),
    "request-timeout": flag.string("timeout of a single request; 0 for none", { default: "30s" }),
  }),
  ...inGroup("Other", { debug: flag.boolean("log every request, and print a stack trace on errors") }),
};

/** Clusters from the Secrets of a management cluster, in place of contexts. */
export const clusterSecretOptions = inGroup("Clusters from Secrets", {
  "clusters-from": flag.string("read the clusters from Secrets; names of contexts are then names of these clusters", {
    choices: SECRET_FORMATS,
  }),
  "clusters-context": flag.context("context of the cluster with the Secrets; default: the current context"),
  "clusters-namespace": flag.string("namespace of the Secrets; default: that of the context, or default"),
  selector: flag.string("label selector that the Secrets match", { alias: "l" }),
  "allow-exec": flag.list(
    "command that kubeconfigs in Secrets may run, found in PATH (repeatable or comma-separated)",
    {
      list: true,
    },
  ),
  "allow-insecure-members": flag.boolean(
    "permit file paths, proxies, unverified connections and variables of exec plugins in Secrets",
  ),
});

/** Where `sync` keeps its state. */
export const stateOptions = inGroup("State", {
  state: flag.string("where the state is kept: in a ConfigMap, or in a file; default: cluster in a pod, else file", {
    choices: ["cluster", "file"],
  }),
  "state-context": flag.context(
    "context of the cluster with the state; default: the cluster of the pod, else the current context",
  ),
  "state-namespace": flag.string("namespace of the state; default: that of the pod or the context, or default"),
  "state-file": flag.file("file of the state; default: one for each kubeconfig in ~/.local/state/clustermesh-secrets"),
});

export const filenameOption = flag.list("file or directory to read, or - for stdin (repeatable); same as FILE", {
  alias: "f",
  completes: "files",
});

export const allContextsOption = flag.boolean("use every context of the kubeconfig");

/** `--wait` for a healthy mesh. */
export const waitOptions = inGroup("Wait", {
  wait: flag.boolean("wait until the mesh is healthy"),
  timeout: flag.string("how long --wait waits", { default: "5m" }),
});

export const detailsOption = flag.boolean("list every cluster, peer and finding instead of summaries");

/** How findings are judged. */
export const checkOptions = inGroup("Checks", {
  "expires-within": flag.string("warn about certificates that expire within this time", { default: "30d" }),
  "fail-on": flag.string("lowest severity of findings that causes exit code 3", {
    choices: ["error", "warning"],
    default: "error",
  }),
});

export const outputOption = flag.string("print a full report in this format, without private keys", {
  alias: "o",
  choices: ["json", "yaml"],
});

/** Creates the flag for a file that others may read, for some of the outputs of a command. */
export function outputFileOption(...outputs: string[]) {
  const flags = outputs.map((output) => `-o ${output}`).join(" or ");
  return flag.file(
    `with ${flags}, write to this file instead of stdout; replaced as a whole, with prometheus of mode 0644`,
  );
}

const UNREACHABLE = "failed: cluster unreachable, permission denied, Cilium not found, or timeout";

/** Exit codes of the commands that read, and of those that write. */
export const EXIT_CODES = {
  read: { 0: "success", 1: UNREACHABLE, 2: "invalid arguments, kubeconfig or files" },
  write: {
    0: "all changes written, or nothing to change",
    1: `${UNREACHABLE}, or a write failed`,
    2: "nothing written: invalid arguments or files, errors found, or not confirmed",
    3: "written, but some peers were skipped or cannot connect yet",
  },
  findings: "findings of at least the severity set by --fail-on",
} as const;
