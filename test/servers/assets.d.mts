/** The names of the assets, in the order in which they are built. */
export const assetNames: readonly string[];
/**
 * The path of an asset, a program or a chart's folder: in a folder of KUBEBUILDER_ASSETS, else in the cache; undefined
 * where it is in neither.
 */
export function findAsset(name: string): string | undefined;
