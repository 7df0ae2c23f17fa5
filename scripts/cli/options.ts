/** Constructors of flags, the flags that several commands share, and their exit codes. */
import type { FlagGroup, Option } from "./option.ts";

type Flag<T extends Option["type"], M> = { readonly type: T; readonly describe: string } & M;
type Details = Omit<Partial<Option>, "type" | "describe">;

/** A flag that is off unless it is given. */
export function booleanFlag(describe: string) {
  return { type: "boolean", default: false, describe } as const;
}

/** A flag with one value. */
export function stringFlag<const M extends Details = Record<never, never>>(
  describe: string,
  details?: M,
): Flag<"string", M> {
  return { type: "string", describe, ...(details as M) };
}

/** A flag that can be repeated. */
export function listFlag<const M extends Details = Record<never, never>>(
  describe: string,
  details?: M,
): Flag<"array", M> {
  return { type: "array", describe, ...(details as M) };
}

/** A flag whose value is a positive integer. */
export function countFlag(describe: string, standard: number) {
  return { type: "number", min: 1, default: standard, describe } as const;
}

/** Lists flags under one heading of the help text. */
export function inGroup<const O extends Record<string, Option>>(group: FlagGroup, options: O): O {
  return Object.fromEntries(Object.entries(options).map(([name, option]) => [name, { ...option, group }])) as O;
}

/** How a command connects to clusters, with kubectl's flag names. */
export const clusterOptions = {
  ...inGroup("Connection", {
    kubeconfig: stringFlag("kubeconfig file; default: KUBECONFIG, then ~/.kube/config", { completes: "files" }),
    namespace: stringFlag("namespace of Cilium; default: detected", { alias: "n" }),
    as: stringFlag("user to impersonate"),
    "as-group": listFlag("group to impersonate (repeatable)"),
    "as-uid": stringFlag("UID to impersonate"),
    "request-timeout": stringFlag("timeout of a single request; 0 for none", { default: "30s" }),
  }),
  ...inGroup("Other", { debug: booleanFlag("log every request, and print a stack trace on errors") }),
};

export const filenameOption = listFlag("file or folder to read, or - for stdin (repeatable); same as FILE", {
  alias: "f",
  completes: "files",
});

export const allContextsOption = booleanFlag("use every context of the kubeconfig");

/** `--wait` for a healthy mesh. */
export const waitOptions = inGroup("Wait", {
  wait: booleanFlag("wait until the mesh is healthy"),
  timeout: stringFlag("how long --wait waits", { default: "5m" }),
});

export const detailsOption = booleanFlag("list every cluster, peer and finding instead of summaries");

/** How findings are judged. */
export const checkOptions = inGroup("Checks", {
  "expires-within": stringFlag("warn about certificates that expire within this time", { default: "30d" }),
  "fail-on": stringFlag("lowest severity of findings that makes the exit code 3", {
    choices: ["error", "warning"],
    default: "error",
  }),
});

export const outputOption = stringFlag("print a full report in this format, without private keys", {
  alias: "o",
  choices: ["json", "yaml"],
});

const UNREACHABLE = "failed: cluster unreachable, permission denied, Cilium not found or timed out";

/** Exit codes of the commands that read clusters. */
export const READ_EXIT_CODES = {
  0: "success",
  1: UNREACHABLE,
  2: "invalid arguments, kubeconfig or files",
} as const;

/** What a checking command adds. */
export const FINDINGS_EXIT_CODE = { 3: "findings of the severity set by --fail-on" } as const;

/** Exit codes of the commands that write. */
export const WRITE_EXIT_CODES = {
  0: "all changes written, or nothing to change",
  1: `${UNREACHABLE}, or a write failed`,
  2: "nothing written: invalid arguments or files, errors found, or not confirmed",
  3: "written, but some peers were left out or cannot connect yet",
} as const;
