/** `clustermesh-secrets completion`: what makes a shell ask us. */
import { readFileSync } from "node:fs";
import { EXIT, UserError } from "../lib/util/errors.ts";
import type { Arguments, Command } from "./cli/option.ts";
import { runnable } from "./cli/run.ts";
import { toStdout } from "./cli/streams.ts";

/** For each there is a script beside this one, which asks `clustermesh-secrets __complete`, and knows no flag itself. */
const SHELLS = ["bash", "zsh", "fish"];

const command: Command<Record<never, never>> = {
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
};

export const completionCommand = runnable(command);

async function runCompletion({ files: [shell = "", ...others] }: Arguments<Record<never, never>>): Promise<number> {
  if (!SHELLS.includes(shell) || others.length > 0) {
    throw new UserError(`name one shell: ${SHELLS.join(", ")}`, EXIT.refused);
  }
  toStdout(readFileSync(new URL(`completion.${shell}`, import.meta.url)));
  return EXIT.done;
}
