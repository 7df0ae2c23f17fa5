/** Codes for names and ids of clusters. */
import { bothValues, error, inParentheses, RE_EXTRACT, warning } from "./code.ts";

const OWN_NAME = "set a unique Helm value cluster.name in each cluster";
const OWN_ID = "set a unique Helm value cluster.id in each cluster";

/** Different values of `max-connected-clusters`. */
interface DifferentMaximum {
  maximum: number;
  /** Another cluster with a different maximum. */
  other: string;
  otherMaximum: number;
  /** The name of the peer, if it exists in the target and is not being imported. */
  peer?: string;
}

export const IDENTITY_CODES = {
  "name-invalid": error<{ name: string }>({
    formerCode: "name-illegal",
    message: ({ name }) =>
      `invalid cluster name ${JSON.stringify(name)}: at most 32 of a-z, 0-9 and -, and not "default"`,
    remedy: "set a valid cluster.name in that cluster if necessary, then re-extract it",
    each: true,
    summary: (of) => `names of ${of} are invalid`,
  }),
  "id-invalid": error<{ text: string } | { id: number; maximum: number }>({
    formerCode: "id-illegal",
    message: (values) =>
      "text" in values
        ? `invalid cluster id ${JSON.stringify(values.text)}: must be a number from 1 to 511`
        : `invalid cluster id ${values.id}: must be a number from 1 to ${values.maximum}`,
    remedy: (values) => ("text" in values ? RE_EXTRACT : "set a valid cluster.id in that cluster, then re-extract it"),
    each: true,
    summary: (of) => `cluster ids of ${of} are invalid`,
  }),
  "id-unknown": warning<{ name: string; isExisting?: true }>({
    message: ({ name, isExisting }) =>
      `cluster id of ${isExisting ? "existing peer " : ""}${name} is unknown, so duplicates cannot be detected`,
    remedy: RE_EXTRACT,
    summary: (of) => `cluster ids of ${of} are unknown, so duplicates cannot be detected`,
  }),
  "name-duplicate": error<{ name: string; other: string; isFile?: true }>({
    formerCode: "name-twice",
    message: ({ name, other, isFile }) =>
      isFile ? `${name} is also in ${other}, with different content` : `cluster name ${name} is also used by ${other}`,
    remedy: ({ isFile }) => (isFile ? "pass only one file per peer" : OWN_NAME),
    summary: (of) => `cluster names of ${of} are used more than once`,
  }),
  "id-duplicate": error<{ id: string; other: string }>({
    traits: ["of-pair"],
    formerCode: "id-twice",
    message: ({ id, other }) => `cluster id ${id} is also used by ${other}`,
    remedy: OWN_ID,
    by: ({ id }) => ({ id }),
    summary: (of, { id }) => `cluster ids of ${of} are used more than once${inParentheses(id)}`,
  }),
  "name-of-target": error<{ name: string; id: number | undefined; target: string; targetId: number | undefined }>({
    traits: ["of-pair"],
    message: ({ name, id, target, targetId }) =>
      `cluster name ${name} is also used by target ${target}, with a different cluster id: peer ${id}, target ${targetId}`,
    remedy: OWN_NAME,
    summary: (of) => `${of} have the same name as their target`,
  }),
  "id-of-target": error<{ id: string; target: string }>({
    traits: ["of-pair"],
    sameAs: "id-duplicate",
    message: ({ id, target }) => `cluster id ${id} is also used by the target (${target})`,
    remedy: OWN_ID,
    by: ({ id }) => ({ id }),
    summary: (of, { id }) => `cluster ids of ${of} are also used by their target${inParentheses(id)}`,
  }),
  "maximum-differs": error<{ text: string } | DifferentMaximum>({
    traits: ["of-pair"],
    message: (values) =>
      "text" in values
        ? `invalid max-connected-clusters ${JSON.stringify(values.text)}: must be 255 or 511`
        : `max-connected-clusters is ${values.maximum}, but ${values.otherMaximum} in ${values.other}`,
    remedy: (values) => {
      if ("text" in values) return RE_EXTRACT;
      return values.peer === undefined
        ? "set clustermesh.maxConnectedClusters to the same value in all clusters"
        : "if the stored value of {peer} is outdated, import its current file in the same command";
    },
    by: (values) => ({
      values: "text" in values ? undefined : bothValues(values.maximum, values.otherMaximum),
    }),
    summary: (of, { values }) => `max-connected-clusters of ${of} differs${inParentheses(values)}`,
  }),
  "too-many-peers": error<{ number: number; maximum: number }>({
    traits: ["of-pair"],
    message: ({ number, maximum }) =>
      `${number} peers exceed the limit of ${maximum - 1} (max-connected-clusters is ${maximum})`,
    remedy: ({ maximum }) =>
      maximum < 511 ? "set clustermesh.maxConnectedClusters=511 in all clusters to allow 510 peers" : undefined,
    each: true,
    summary: (of) => `${of} would have too many peers`,
  }),
} as const;
