/** The sources of `--clusters-from`. In a file of its type alone, because help needs no parser. */
export const SECRET_FORMATS = ["argocd", "cluster-api", "secrets"] as const;

export type SecretFormat = (typeof SECRET_FORMATS)[number];
