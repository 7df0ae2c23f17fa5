// The licences of the packages that are bundled.
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";

/**
 * One package's licence, as its own folder tells it: at its top, or deeper for what it bundles itself.
 *
 * @throws where the package names no licence or comes without its text: then it cannot be handed on.
 */
export async function licenceOf(folder) {
  const { name, version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  const files = (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && /^(.*[-_.])?(licen[cs]es?|copying|notices?)([-_.].*)?$/i.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !file.slice(folder.length).includes("node_modules"))
    .sort();
  if (typeof license !== "string") throw new Error(`${name} ${version} is bundled, and names no licence`);
  if (!files.some((file) => dirname(file) === folder)) {
    throw new Error(`${name} ${version} is bundled, and there is no licence file in ${folder}`);
  }
  const texts = await Promise.all(files.map(async (file) => (await readFile(file, "utf8")).trim()));
  return [`${name} ${version} (${license})`, ...texts].join("\n\n");
}
