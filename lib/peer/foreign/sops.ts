/** Recognizes files encrypted by SOPS (https://getsops.io). Pure. */
import { isFields } from "../../util/fields.ts";
import { createRemedy, type ForeignFile } from "./foreign.ts";

/**
 * Recognizes a document encrypted by SOPS by its metadata in `sops`. SOPS wraps files of other formats in JSON, as
 * `{"data": "ENC[…]", "sops": …}`; decryption then returns the original file.
 *
 * @param form - the format of the document.
 * @param path - sops derives the format from its extension, unless `--input-type` is set.
 */
export function recognizeSops(
  object: unknown,
  form: "json" | "yaml",
  path: string | undefined,
): ForeignFile | undefined {
  if (!isFields(object)) return undefined;
  const { sops, data } = object;
  if (!isFields(sops) || typeof sops.lastmodified !== "string" || typeof sops.mac !== "string") return undefined;
  const isWrapped = Object.keys(object).length === 2 && isEncrypted(data);
  const format = isWrapped ? "binary" : form;
  const expected = formatByExtension(path);
  // The YAML parser of sops also accepts JSON.
  const isCompatible = format === expected || (format === "json" && expected === "yaml");
  const types = isCompatible ? "" : ` --input-type ${format} --output-type ${format}`;
  return {
    code: "encrypted-file",
    message: "is encrypted with SOPS",
    remedy: createRemedy(`sops decrypt${types} {file} | {rerun}`),
  };
}

/** Returns the format that sops assumes by the extension, which is case-sensitive; undefined without a path. */
function formatByExtension(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  const [, extension = "binary"] = /\.(ya?ml|json|env|ini)$/.exec(path) ?? [];
  return extension === "yml" ? "yaml" : extension;
}

const isEncrypted = (value: unknown) => typeof value === "string" && value.startsWith("ENC[AES256_GCM,");
