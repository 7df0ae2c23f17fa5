const { existsSync } = require("node:fs");
const { join } = require("node:path");

/**
 * Ends a command whose program could not be loaded: with exit code 1 and what to do, if it was never built. npm builds it
 * (`prepare.mjs`) unless it is told to run no scripts.
 *
 * @param {unknown} error why it could not be loaded; thrown, if the programs are there.
 */
module.exports = function explainNotBuilt(error) {
  const root = join(__dirname, "..");
  if (existsSync(join(root, "dist"))) throw error;
  const remedy = existsSync(join(root, "prepare.mjs"))
    ? `npm --prefix '${root.replaceAll("'", "'\\''")}' run prepare --ignore-scripts=false`
    : "install the package again with npm's flag --ignore-scripts=false";
  process.stderr.write(`error: clustermesh-secrets is not built: npm did not run its scripts\n  ${remedy}\n`);
  process.exitCode = 1;
};
