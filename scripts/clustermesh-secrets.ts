/** `clustermesh-secrets`, and `kubectl clustermesh-secrets`: all commands in one program. */
import { basename } from "node:path";
import { EXIT, UserError } from "../lib/peer/errors.ts";
import { nearestOf } from "../lib/peer/nearest.ts";
import type { Offer } from "./complete.ts";
import { guardStreams, toStdout } from "./streams.ts";
import { showVersion, style, tell } from "./terminal.ts";

/** Said instead of a command by a shell. */
const COMPLETE = "__complete";

type Main = (program: string, argv: string[]) => Promise<void>;

const commands: Record<string, { description: string; load(): Promise<Main> }> = {
  extract: {
    description: "a cluster's secret for its peers, as a file (extract-secret)",
    load: async () => (await import("./extract.ts")).extractMain,
  },
  import: {
    description: "other clusters' files into clusters (import-secrets)",
    load: async () => (await import("./import.ts")).importMain,
  },
  inspect: {
    description: "offline: would these files connect, where to, and until when?",
    load: async () => (await import("./inspect.ts")).inspectMain,
  },
  verify: {
    description: "live: does a peer's etcd take these certificates, and is it alive?",
    load: async () => (await import("./verify.ts")).verifyMain,
  },
  status: {
    description: "the state of a mesh: every pair of clusters, from their API servers",
    load: async () => (await import("./status.ts")).statusMain,
  },
  connect: {
    description: "clusters with each other, straight from their contexts",
    load: async () => (await import("./connect.ts")).connectMain,
  },
  disconnect: {
    description: "clusters out of others",
    load: async () => (await import("./disconnect.ts")).disconnectMain,
  },
  rotate: {
    description: "a cluster's new certificates to those that are connected with it",
    load: async () => (await import("./rotate.ts")).rotateMain,
  },
  demo: {
    description: "three embedded clusters, connected end to end",
    load: async () => (await import("./demo.ts")).demoMain,
  },
  sandbox: {
    description: "keeps three embedded clusters up, to try things on",
    load: async () => (await import("./sandbox.ts")).sandboxMain,
  },
  completion: {
    description: "what makes bash, zsh or fish complete all this",
    load: async () => (await import("./completion.ts")).completionMain,
  },
};

const called = basename(process.argv[1] ?? "");
const program = called.startsWith("kubectl-") ? "kubectl clustermesh-secrets" : "clustermesh-secrets";
// By the other name kubectl asks for what the words after `kubectl clustermesh-secrets` may go on with.
const given = [...(called.startsWith("kubectl_complete-") ? [COMPLETE] : []), ...process.argv.slice(2)];
const completing = given[0] === COMPLETE;
const [name, ...rest] = completing ? given.slice(1) : given;
const command = name === undefined || !Object.hasOwn(commands, name) ? undefined : commands[name];

run().catch((error: unknown) => {
  if (!(error instanceof UserError)) throw error;
  tell(`${style.red("error")}: ${error.message}`);
  process.exitCode = error.exitCode;
});

async function run(): Promise<void> {
  if (command && (!completing || rest.length > 0)) {
    const main = await command.load();
    await main(`${program} ${name}`, completing ? [COMPLETE, ...rest] : rest);
    return;
  }
  guardStreams();
  if (completing) {
    const { answer } = await import("./complete.ts");
    const offers = Object.entries(commands).map(([command, { description }]): Offer => [command, description]);
    toStdout(answer(name ?? "", rest.length > 0 ? [] : offers));
  } else if (name === "--version") showVersion();
  else if (name === "--help" || name === "-h" || name === "help") toStdout(`${usage()}\n`);
  else {
    if (name !== undefined) {
      const nearest = nearestOf(name, Object.keys(commands));
      const hint = nearest === undefined ? "" : `; did you mean ${nearest}?`;
      tell(`${style.red("error")}: there is no command ${JSON.stringify(name)}${hint}`);
    }
    tell(usage());
    process.exitCode = EXIT.refused;
  }
}

function usage(): string {
  const lines = Object.entries(commands).map(([command, { description }]) => `  ${command.padEnd(12)}${description}`);
  return [`Usage: ${program} COMMAND …`, "", ...lines, "", `${program} COMMAND --help tells more of each.`].join("\n");
}
