/** `clustermesh-secrets completion`: scripts that enable completion in a shell. */
import { readFileSync } from "node:fs";
import { EXIT, UsageError } from "../lib/util/errors.ts";
import type { Arguments } from "./cli/option.ts";
import { toProgram } from "./cli/run.ts";
import { writeStdout } from "./cli/streams.ts";

/** Each has a script in this folder, which calls `clustermesh-secrets __complete` and contains no flags itself. */
const SHELLS = ["bash", "zsh", "fish"];

export const completionCommand = toProgram({
  usage: "$0 bash|zsh|fish",
  description:
    "The script completes commands, flags, their values and contexts for all programs. kubectl completes its plugin " +
    "without it.",
  positionals: "SHELL",
  examples: [
    ["source <($0 bash)", "bash: add to ~/.bashrc"],
    ["source <($0 zsh)", "zsh: add to ~/.zshrc, after compinit"],
    ["$0 fish | source", "fish: add to ~/.config/fish/config.fish"],
  ],
  exitCodes: { 0: "success", 2: "invalid arguments" },
  options: {},
  run: runCompletion,
});

async function runCompletion({ files: [shell = "", ...others] }: Arguments<Record<never, never>>): Promise<number> {
  if (!SHELLS.includes(shell) || others.length > 0) {
    throw new UsageError(`exactly one shell is required: ${SHELLS.join(", ")}`);
  }
  writeStdout(readFileSync(new URL(`completion.${shell}`, import.meta.url)));
  return EXIT.done;
}
