/** The flags of `status`. */
import {
  allContextsOption,
  checkOptions,
  clusterOptions,
  clusterSecretOptions,
  detailsOption,
  flag,
  inGroup,
  outputFileOption,
  stateOptions,
  waitOptions,
} from "./options.ts";
import { FILE_OUTPUTS } from "./show-status.ts";

export const statusOptions = {
  ...inGroup("Input", {
    context: flag.contexts("context of a cluster (repeatable, not comma-separated); default: the current context"),
    "all-contexts": allContextsOption,
  }),
  ...inGroup("Checks", {
    probe: flag.boolean("also connect to the etcd of every peer, from this machine"),
    "step-timeout": flag.string("timeout of each step of --probe", { default: "5s" }),
  }),
  ...checkOptions,
  ...waitOptions,
  ...inGroup("State", {
    sync: flag.boolean("show the state of sync instead: its members, and what it holds and why"),
  }),
  ...stateOptions,
  ...inGroup("Output", {
    output: flag.string(
      "output format; wide adds columns, mermaid draws a graph, html is a page, prometheus is for node_exporter",
      { alias: "o", choices: ["json", "yaml", "wide", "mermaid", "html", "prometheus"] },
    ),
    "output-file": outputFileOption(...FILE_OUTPUTS),
    details: detailsOption,
    watch: { ...flag.boolean("refresh every two seconds until interrupted"), alias: "w" },
  }),
  ...clusterSecretOptions,
  ...clusterOptions,
};
