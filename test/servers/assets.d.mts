/** The names of the files, in the order in which they are built. */
export const assetNames: readonly string[];
/** The folder in the cache; its name follows from the pins, so that another pin is another folder. */
export function assetsFolder(): string;
/** The path of a built file: in a folder of KUBEBUILDER_ASSETS, else in the cache; undefined where it is in neither. */
export function findAsset(name: string): string | undefined;
