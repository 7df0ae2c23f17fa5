// Bundles the CSS and the script of status pages (lib/render/page) as texts.
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const folder = fileURLToPath(new URL("../lib/render/page/", import.meta.url));

/**
 * Returns the texts that a page contains. They are ASCII, so that they do not depend on the encoding of the page.
 *
 * @returns {Promise<{ style: string, script: string }>}
 */
export async function buildPageAssets() {
  const { outputFiles } = await build({
    entryPoints: [join(folder, "page.ts"), join(folder, "page.css")],
    outdir: folder,
    write: false,
    bundle: true,
    minify: true,
    format: "iife",
    platform: "browser",
    target: ["es2022", "chrome111", "firefox113", "safari16.4"],
    charset: "ascii",
    legalComments: "none",
    logLevel: "warning",
  });
  const textOf = (extension) => outputFiles.find(({ path }) => path.endsWith(extension))?.text ?? "";
  return { style: textOf(".css"), script: textOf(".js") };
}
