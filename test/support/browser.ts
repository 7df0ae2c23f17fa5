/** A real browser: Chromium or Chrome of the system, without a network. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { type Browser, chromium } from "playwright-core";

/** Names of programs, as systems install them. */
const PROGRAMS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Looks for a browser in CHROMIUM and then in PATH; undefined without one. */
function findBrowser(): string | undefined {
  const { CHROMIUM = "", PATH = "" } = process.env;
  if (CHROMIUM !== "") return CHROMIUM;
  return PATH.split(delimiter)
    .flatMap((folder) => PROGRAMS.map((program) => join(folder, program)))
    .find(isExecutable);
}

/** Returns the option `skip` of a test: false if there is a browser, else the reason. */
export function withoutBrowser(): string | false {
  return findBrowser() === undefined ? "browser not found; install chromium, or set CHROMIUM to its path" : false;
}

/** Starts the browser. Names are not resolved, so that no page can reach a server. */
export function startBrowser(): Promise<Browser> {
  const executablePath = findBrowser();
  if (executablePath === undefined) throw new Error("browser not found");
  return chromium.launch({ executablePath, args: ["--host-resolver-rules=MAP * ~NOTFOUND"] });
}
