/** Words as a shell reads them, for commands that can be pasted. Pure. */

/**
 * Quotes a word for a POSIX shell, if it has to be. Control characters, which a terminal would not take when pasted, are
 * escaped within `$'…'`, as bash, zsh and ksh read it.
 */
export function shellQuote(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  if (!/\p{C}|\p{Zl}|\p{Zp}/u.test(word)) return `'${word.replaceAll("'", "'\\''")}'`;
  const escaped = word.replace(/[\\']/g, "\\$&").replace(/\p{C}|\p{Zl}|\p{Zp}/gu, (sign) => {
    return [...Buffer.from(sign)].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
  });
  return `$'${escaped}'`;
}

/** Quotes the name of a file that is an argument, so that it is not taken for a flag either. */
export function shellQuotePath(path: string): string {
  return shellQuote(path.startsWith("-") ? `./${path}` : path);
}
