export function checkDocComments(path: string, text: string): string[];
export function checkFolders(folders?: readonly string[]): string[];
