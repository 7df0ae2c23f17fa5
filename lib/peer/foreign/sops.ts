/** Files that are encrypted by SOPS (https://getsops.io). Pure. */
import { isFields } from "../../util/fields.ts";
import { createRemedy, type ForeignFile } from "./foreign.ts";

/**
 * Whether a document is encrypted by SOPS: it has SOPS' metadata in `sops`. A file of no known format is wrapped in JSON,
 * as `{"data": "ENC[…]", "sops": …}`, in which case the result is that file.
 *
 * @param form - how the document is written.
 * @param path - sops chooses the format by its extension, unless `--input-type` is set.
 */
export function recognizeSops(
  object: unknown,
  form: "json" | "yaml",
  path: string | undefined,
): ForeignFile | undefined {
  if (!isFields(object)) return undefined;
  const { sops, data } = object;
  if (!isFields(sops) || typeof sops.lastmodified !== "string" || typeof sops.mac !== "string") return undefined;
  const wraps = Object.keys(object).length === 2 && isEncrypted(data);
  const format = wraps ? "binary" : form;
  const assumed = sopsFormat(path);
  // Its YAML reads JSON too.
  const fits = format === assumed || (format === "json" && assumed === "yaml");
  const types = fits ? "" : ` --input-type ${format} --output-type ${format}`;
  return {
    code: "encrypted-file",
    message: "is encrypted by SOPS",
    remedy: createRemedy(`sops decrypt${types} {file} | {rerun}`),
  };
}

/** As sops does, case included; unknown without a name. */
function sopsFormat(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  const [, ending = "binary"] = /\.(ya?ml|json|env|ini)$/.exec(path) ?? [];
  return ending === "yml" ? "yaml" : ending;
}

const isEncrypted = (value: unknown) => typeof value === "string" && value.startsWith("ENC[AES256_GCM,");
