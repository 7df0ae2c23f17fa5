/** The sources of `--clusters-from`. A separate file, because help and completion need no parser. */
export const SECRET_FORMATS = ["argocd", "cluster-api", "secrets"] as const;

export type SecretFormat = (typeof SECRET_FORMATS)[number];
