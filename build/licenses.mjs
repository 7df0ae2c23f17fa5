// Licenses of bundled packages.
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";

/**
 * Returns the license texts of a package, those of code that it bundles included.
 *
 * @throws Error if the package declares no license or lacks its text, and therefore must not be distributed
 */
export async function licenseOf(folder) {
  const { name, version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  const files = (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && /^(.*[-_.])?(licen[cs]es?|copying|notices?)([-_.].*)?$/i.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !file.slice(folder.length).includes("node_modules"))
    .sort();
  if (typeof license !== "string") throw new Error(`cannot bundle ${name} ${version}: package.json has no license`);
  if (!files.some((file) => dirname(file) === folder)) {
    throw new Error(`cannot bundle ${name} ${version}: no license file in ${folder}`);
  }
  const texts = await Promise.all(files.map(async (file) => (await readFile(file, "utf8")).trim()));
  return [`${name} ${version} (${license})`, ...texts].join("\n\n");
}
