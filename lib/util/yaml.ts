/**
 * YAML that others wrote, within bounds: by the library's own calls many keys take time by their square, and what nests
 * too deep ends the process. Pure.
 */
import { Composer, type CST, type Document, type ErrorCode, isScalar, Lexer, Parser, visit } from "yaml";

/** What is longer is not read, for it would take seconds. 510 peers have 2 MB, and 130,000 words and signs. */
export const YAML_LIMITS = { characters: 6_000_000, words: 250_000 };
const DEEPEST = 100;
const MOST_ALIASES = 100;

/** Why a text is not read. The message says nothing of what stands in it. */
export class YamlError extends Error {}

/** A mapping in which a key stands twice. */
export class DuplicateKeyError extends YamlError {}

/** More than {@link YAML_LIMITS}, whether it is YAML or not. */
export class YamlTooLargeError extends YamlError {}

/** What the library's codes stand for. Its own messages repeat what stands in the text. */
const ERRORS: Readonly<Record<ErrorCode, string>> = {
  ALIAS_PROPS: "an alias has an anchor or a tag",
  BAD_ALIAS: "an alias or anchor has no valid name",
  BAD_COLLECTION_TYPE: "a tag does not fit its collection",
  BAD_DIRECTIVE: "a directive is invalid",
  BAD_DQ_ESCAPE: "an escape sequence in double quotes is invalid",
  BAD_INDENT: "the indentation is wrong",
  BAD_PROP_ORDER: "an anchor or tag is before its indicator",
  BAD_SCALAR_START: "an unquoted value begins with a reserved character",
  BLOCK_AS_IMPLICIT_KEY: "a mapping or list is where a value in one line is expected",
  BLOCK_IN_FLOW: "an indented mapping or list is within brackets",
  DUPLICATE_KEY: "a key is repeated",
  IMPOSSIBLE: "it cannot be parsed",
  KEY_OVER_1024_CHARS: "a key has more than 1024 characters",
  MISSING_CHAR: "a quote, bracket, comma, colon or space is missing",
  MULTILINE_IMPLICIT_KEY: "a key has more than one line",
  MULTIPLE_ANCHORS: "a value has more than one anchor",
  MULTIPLE_DOCS: "there is more than one document",
  MULTIPLE_TAGS: "a value has more than one tag",
  NON_STRING_KEY: "a key is not a string",
  RESOURCE_EXHAUSTION: "it is nested too deep",
  TAB_AS_INDENT: "a tab is used for indentation",
  TAG_RESOLVE_FAILED: "a value does not fit its tag",
  UNEXPECTED_TOKEN: "something else is expected here",
};

/** What is wrong with a text that is not YAML, without anything of the text. */
export function describeYamlError(code: ErrorCode): string {
  return ERRORS[code];
}

/**
 * The documents of a text, one behind the other.
 *
 * @throws YamlError when it comes to what cannot be read.
 */
export function* parseYamlDocuments(text: string): Generator<unknown, void> {
  for (const document of new Composer({ logLevel: "silent", uniqueKeys: false }).compose(tokens(text))) {
    const [error] = document.errors;
    if (error) throw stopped(text, error.pos[0]);
    check(document);
    try {
      yield document.toJS({ maxAliasCount: 10 });
    } catch {
      throw new YamlError("its aliases lead nowhere, or to too much");
    }
  }
}

function* tokens(text: string): Generator<CST.Token, void> {
  for (const token of bounded(text)) {
    // An error for each sign of a text that is none would take as long as the text is.
    if (token.type === "error") throw stopped(text, token.offset);
    yield token;
  }
}

function* bounded(text: string): Generator<CST.Token, void> {
  if (text.length > YAML_LIMITS.characters) throw new YamlTooLargeError("it is too long");
  const parser = new Parser();
  let words = 0;
  for (const word of new Lexer().lex(text)) {
    // Each line of a word, and each escape in it, is a word to what reads it.
    words += word.split(/[\n\\]/).length;
    if (words > YAML_LIMITS.words) throw new YamlTooLargeError("it is too long");
    if (parser.stack.length > DEEPEST) throw new YamlError("it nests too deep");
    yield* parser.next(word);
  }
  yield* parser.end();
}

function stopped(text: string, at: number): YamlError {
  const lines = text.slice(0, at).split("\n");
  return new YamlError(`stopped at line ${lines.length}, column ${(lines.at(-1) ?? "").length + 1}`);
}

function check(document: Document.Parsed): void {
  let aliases = 0;
  visit(document, {
    Alias() {
      aliases++;
      if (aliases > MOST_ALIASES) throw new YamlError("it has too many aliases");
    },
    Map(_, { items }) {
      const keys = items.map(({ key }) => {
        if (!isScalar(key)) throw new YamlError("it has a key that is no text");
        return String(key.value ?? "");
      });
      if (new Set(keys).size < keys.length) throw new DuplicateKeyError("a key stands twice");
    },
  });
}
