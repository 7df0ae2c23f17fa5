/** Quoting for shell commands that can be pasted. Pure. */

/**
 * Quotes a word for a POSIX shell if necessary. Control characters, which cannot be pasted into a terminal, are escaped
 * in `$'…'`, which bash, zsh and ksh support.
 */
export function shellQuote(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  if (!/\p{C}|\p{Zl}|\p{Zp}/u.test(word)) return `'${word.replaceAll("'", "'\\''")}'`;
  const escaped = word.replace(/[\\']/g, "\\$&").replace(/\p{C}|\p{Zl}|\p{Zp}/gu, (char) => {
    return [...Buffer.from(char)].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
  });
  return `$'${escaped}'`;
}

/** Quotes a path as an argument; a leading `-` is prefixed with `./`, so that it is not parsed as a flag. */
export function shellQuotePath(path: string): string {
  return shellQuote(path.startsWith("-") ? `./${path}` : path);
}
