/**
 * The markup of a page whose commands are run.
 *
 * - A fenced block `console` holds commands (`$ command`, continued after a final backslash) and their output. Its info
 *   string can hold `not-run="reason"`, `background` for a command that runs until the end of the page, or `answer="n"` for a
 *   command on a terminal, which asks for confirmation and gets this answer; its exit code is not checked.
 * - `<!-- docs: sandbox SCENARIO -->` at the top of the page starts embedded clusters.
 * - `<!-- docs: event NAME -->` changes those clusters as somebody else would.
 * - Further lines of such a comment, and those of `<!-- docs: run`, are commands that the page does not show.
 */

export interface DocumentedCommand {
  text: string;
  /** Output as the page shows it, without the final newline. */
  output: string;
}

/** A fenced block of commands. */
export interface Block {
  kind: "block";
  /** Number of its first line in the page, from 1. */
  line: number;
  commands: DocumentedCommand[];
  background: boolean;
  /** What is typed on the terminal at the prompt; undefined without a terminal. */
  answer: string | undefined;
  /** Why the commands are not run; undefined if they are. */
  notRun: string | undefined;
}

/** A comment that is an instruction. */
export interface Instruction {
  kind: "sandbox" | "event" | "run";
  line: number;
  name: string;
  commands: string[];
}

export type Step = Block | Instruction;

const FENCE = /^```console *(.*)$/;
const COMMENT = /^<!-- docs: (sandbox|event|run) *([\w-]*) *(-->)?$/;

/**
 * Parses a page.
 *
 * @throws Error on a block or comment that does not end, on output before the first command and on an unknown info string
 */
export function parsePage(text: string): Step[] {
  const lines = text.split("\n");
  const steps: Step[] = [];
  for (let i = 0; i < lines.length; i++) {
    const line = i + 1;
    const until = (end: string): string[] => {
      const last = lines.indexOf(end, i + 1);
      if (last === -1) throw new Error(`line ${line}: no "${end}" follows`);
      const body = lines.slice(i + 1, last);
      i = last;
      return body;
    };
    const fence = FENCE.exec(lines[i] ?? "");
    const comment = COMMENT.exec(lines[i] ?? "");
    if (fence) {
      steps.push({
        kind: "block",
        line,
        ...parseInfo(fence[1] ?? "", line),
        commands: parseCommands(until("```"), line),
      });
    } else if (comment) {
      const [, kind, name = "", closed] = comment;
      steps.push({ kind: kind as Instruction["kind"], line, name, commands: closed ? [] : until("-->") });
    } else if (lines[i]?.startsWith("```")) {
      until("```");
    }
  }
  return steps;
}

function parseInfo(info: string, line: number): Pick<Block, "background" | "answer" | "notRun"> {
  const [, background, notRun, answer] = /^(?:(background)|not-run="([^"]+)"|answer="(\w+)")?$/.exec(info) ?? [];
  if (info !== "" && !background && !notRun && !answer) throw new Error(`line ${line}: unknown info string: ${info}`);
  return { background: background !== undefined, answer, notRun };
}

function parseCommands(lines: readonly string[], first: number): DocumentedCommand[] {
  const commands: { text: string; output: string[] }[] = [];
  for (const line of lines) {
    const last = commands.at(-1);
    if (line.startsWith("$ ")) commands.push({ text: line.slice(2), output: [] });
    else if (!last) throw new Error(`line ${first}: output before the first command`);
    else if (last.text.endsWith("\\") && last.output.length === 0) last.text += `\n${line}`;
    else last.output.push(line);
  }
  return commands.map(({ text, output }) => ({ text, output: output.join("\n") }));
}

/** Returns the page with its commands and outputs replaced by those of these blocks, which have the same lines. */
export function renderPage(text: string, blocks: readonly Block[]): string {
  const lines = text.split("\n");
  for (const { line, commands } of [...blocks].reverse()) {
    const body = commands.flatMap(({ text, output }) => [`$ ${text}`, ...(output === "" ? [] : [output])]);
    lines.splice(line, lines.indexOf("```", line) - line, ...body);
  }
  return lines.join("\n");
}
