/** Codes for rendering manifests and Helm values. */
import { error, literal, warning } from "./code.ts";

/** The command that extracts the file of a target again. */
interface ReExtraction {
  command: string;
}

export const RENDER_CODES = {
  assumed: warning<{ fact: string; assumption: string; version: string | undefined } & ReExtraction>({
    message: ({ fact, assumption, version }) =>
      `the file does not contain ${fact}; assuming ${assumption}` +
      (version === undefined ? "" : `, as in the chart of Cilium ${version}`),
    remedy: "re-extract it with this version: {command}",
    noun: "files",
    each: true,
    summary: (of) => `${of} lack facts about their clusters, which are assumed`,
  }),
  "target-unknown": error<{ fact: string } & ReExtraction>({
    message: ({ fact }) => `the file does not contain ${fact}, on which the output depends`,
    remedy: "re-extract it with this version: {command}",
    noun: "files",
    each: true,
    summary: (of) => `${of} lack facts about their clusters`,
  }),
  "whole-objects": warning<{ objects: string }>({
    message: ({ objects }) =>
      `rendered without the existing objects: if these are replaced by ${objects}, peers and users that are not in the files are removed`,
    remedy: "to keep them, pass them with --existing FILE, or render with --context CONTEXT",
    noun: "clusters",
    summary: (of) => `objects of ${of} were rendered without the existing ones, which they may replace`,
  }),
  "existing-foreign": error<{ object: string; name: string; command: string }>({
    message: ({ object, name }) =>
      `the existing objects are those of another cluster: ${object} contains ${name} as an imported peer`,
    remedy: ({ command }) => `print those of the target: ${literal(command)}`,
    noun: "objects",
    each: true,
    summary: (of) => `${of} are those of another cluster`,
  }),
  "existing-suspect": warning<{ object: string; name: string; command: string }>({
    message: ({ object, name }) =>
      `existing objects seem to be those of another cluster: ${object} contains a config for ${name}, which is the target`,
    remedy: ({ command }) => `unless a chart wrote it, print those of the target: ${literal(command)}`,
    noun: "objects",
    each: true,
    summary: (of) => `${of} seem to be those of another cluster`,
  }),
  "values-unsupported": error<{ problem: string }>({
    message: ({ problem }) => problem,
    remedy: "render with --output=manifests or --output=kustomize",
    each: true,
    summary: (of) => `Helm values cannot describe ${of}`,
  }),
  "values-deprecated": warning<{ peer: string }>({
    message: ({ peer }) => `the values contain certificates of ${peer} in the field tls, which Cilium has deprecated`,
    remedy: "use one CA for all clusters, and render again",
    summary: (of) => `the values contain certificates of ${of} in the field tls, which Cilium has deprecated`,
  }),
} as const;
