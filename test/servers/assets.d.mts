/** Names of the assets, in build order. */
export const assetNames: readonly string[];
/**
 * Finds an asset in the folders of KUBEBUILDER_ASSETS, then in the cache.
 *
 * @returns the path of a program, or of a chart's folder; undefined if there is none
 * @throws Error for an unknown name
 */
export function findAsset(name: string): string | undefined;
