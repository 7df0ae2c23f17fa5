/** Codes for a file and the Secret in it. */
import { enumerate } from "../../util/enumerate.ts";
import { PEERS_ANNOTATION } from "../annotations.ts";
import { error, warning } from "./code.ts";

/** The maximum number of names in a message. */
const MAX_NAMES = 5;

/** Facts about a cluster without an entry. */
interface UnusedFacts {
  /** The cluster that the annotations describe; undefined if they have no name. */
  described: string | undefined;
  entries: readonly string[];
  /** The ignored facts, if any. */
  ignored: string | undefined;
}

/** Records of peers without an entry, and entries without a record. */
interface StrayRecords {
  strays: readonly string[];
  entries: readonly string[];
}

/** Common fields of codes for unusable files, whose message is a value. */
const described = {
  traits: ["illegible"],
  message: ({ problem }: { problem: string }) => problem,
  noun: "files",
  each: true,
} as const;

export const FILE_CODES = {
  unreadable: error<{ problem: string; remedy?: string | undefined }>({
    ...described,
    remedy: ({ remedy }) => remedy,
    summary: (of) => `${of} cannot be read`,
  }),
  "not-a-secret": error<{ problem: string }>({
    ...described,
    remedy: "pass files written by extract-secret",
    noun: "entries",
    summary: (of) => `${of} are not Secrets`,
  }),
  "encrypted-file": error<{ problem: string }>({ ...described, summary: (of) => `${of} are encrypted` }),
  "foreign-file": error<{ problem: string }>({ ...described, summary: (of) => `${of} are not Secrets with peers` }),
  "data-invalid": error<{ field: "data" | "stringData" }>({
    traits: ["illegible"],
    message: ({ field }) =>
      field === "data" ? "the value is not valid base64" : "the value of stringData is not a string",
    remedy: "export the Secret again",
    noun: "values",
    each: true,
    summary: (of) => `${of} are invalid`,
  }),
  "no-peer": error({
    traits: ["illegible"],
    message: "the Secret contains no etcd config",
    remedy: "pass a Secret with one key per peer, named after its cluster",
    noun: "files",
    summary: (of) => `${of} contain no etcd config`,
  }),
  "schema-newer": warning<{ schema: string; supported: number }>({
    message: ({ schema, supported }) => `annotations have schema ${schema}; this version supports up to ${supported}`,
    remedy: "upgrade clustermesh-secrets",
    noun: "files",
    summary: (of) => `${of} have annotations of a newer schema`,
  }),
  "facts-of-other-cluster": warning<(UnusedFacts | StrayRecords) & { peer: string }>({
    message: (values) => ("strays" in values ? describeStrayRecords(values) : describeUnusedFacts(values)),
    remedy: "re-extract {peer} with extract-secret instead of renaming its key",
    each: true,
    summary: (of) => `annotations of ${of} describe other clusters`,
  }),
} as const;

function describeUnusedFacts({ described, entries, ignored }: UnusedFacts): string {
  const [only, ...others] = entries;
  const subject = described === undefined ? "the annotations name no cluster" : `the annotations describe ${described}`;
  const found = others.length === 0 ? `the only entry is ${only}` : `the entries are ${enumerate(entries, MAX_NAMES)}`;
  return `${subject}, but ${found}${ignored === undefined ? "" : `; ignored: ${ignored}`}`;
}

function describeStrayRecords({ strays, entries }: StrayRecords): string {
  return (
    `annotation ${PEERS_ANNOTATION} lists ${enumerate(strays, MAX_NAMES)} without an entry, ` +
    `but not ${enumerate(entries, MAX_NAMES)}; ignored: the cluster ids in it`
  );
}
