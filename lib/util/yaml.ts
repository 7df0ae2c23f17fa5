/**
 * Parses untrusted YAML within limits. The parser of `yaml` takes quadratic time for many keys, and deep nesting overflows
 * its stack. Pure.
 */
import { Composer, type CST, type Document, type ErrorCode, isScalar, Lexer, Parser, visit } from "yaml";

/** Beyond these limits parsing takes seconds. A file of 510 peers has 2 MB and 130,000 tokens. */
export const YAML_LIMITS = { characters: 6_000_000, tokens: 250_000 };
const MAX_DEPTH = 100;
const MAX_ALIASES = 100;

/** Why YAML is rejected. The message contains nothing of the text. */
export class YamlError extends Error {}

/** A mapping has a duplicate key. */
export class DuplicateKeyError extends YamlError {}

/** The text exceeds {@link YAML_LIMITS}, whether it is valid or not. */
export class YamlTooLargeError extends YamlError {}

/** Descriptions of the parser's error codes; its messages repeat the text. */
const DESCRIPTIONS: Readonly<Record<ErrorCode, string>> = {
  ALIAS_PROPS: "an alias has an anchor or a tag",
  BAD_ALIAS: "an alias or anchor has an invalid name",
  BAD_COLLECTION_TYPE: "a tag does not fit its collection",
  BAD_DIRECTIVE: "a directive is invalid",
  BAD_DQ_ESCAPE: "an escape sequence in double quotes is invalid",
  BAD_INDENT: "the indentation is wrong",
  BAD_PROP_ORDER: "an anchor or tag is before its indicator",
  BAD_SCALAR_START: "an unquoted value starts with a reserved character",
  BLOCK_AS_IMPLICIT_KEY: "a mapping or list where a single-line value is expected",
  BLOCK_IN_FLOW: "an indented mapping or list inside brackets",
  DUPLICATE_KEY: "a key is repeated",
  IMPOSSIBLE: "cannot be parsed",
  KEY_OVER_1024_CHARS: "a key has more than 1024 characters",
  MISSING_CHAR: "a quote, bracket, comma, colon or space is missing",
  MULTILINE_IMPLICIT_KEY: "a key has more than one line",
  MULTIPLE_ANCHORS: "a value has more than one anchor",
  MULTIPLE_DOCS: "there is more than one document",
  MULTIPLE_TAGS: "a value has more than one tag",
  NON_STRING_KEY: "a key is not a string",
  RESOURCE_EXHAUSTION: "nested too deeply",
  TAB_AS_INDENT: "a tab is used for indentation",
  TAG_RESOLVE_FAILED: "a value does not fit its tag",
  UNEXPECTED_TOKEN: "unexpected token",
};

/** Describes an error of the parser, without anything of the text. */
export function describeYamlError(code: ErrorCode): string {
  return DESCRIPTIONS[code];
}

/**
 * Parses a stream of YAML documents, lazily.
 *
 * @throws YamlError if a document is invalid or exceeds the limits.
 */
export function* parseYamlDocuments(text: string): Generator<unknown, void> {
  for (const document of new Composer({ logLevel: "silent", uniqueKeys: false }).compose(validTokens(text))) {
    const [error] = document.errors;
    if (error) throw syntaxError(text, error.pos[0]);
    checkDocument(document);
    try {
      yield document.toJS({ maxAliasCount: 10 });
    } catch {
      throw new YamlError("aliases cannot be resolved, or expand to too much");
    }
  }
}

function* validTokens(text: string): Generator<CST.Token, void> {
  for (const token of boundedTokens(text)) {
    // The first error is enough: text that is not YAML can have one for each character.
    if (token.type === "error") throw syntaxError(text, token.offset);
    yield token;
  }
}

function* boundedTokens(text: string): Generator<CST.Token, void> {
  if (text.length > YAML_LIMITS.characters) throw new YamlTooLargeError("too long");
  const parser = new Parser();
  let count = 0;
  for (const lexeme of new Lexer().lex(text)) {
    // The parser processes each line and escape sequence separately.
    count += lexeme.split(/[\n\\]/).length;
    if (count > YAML_LIMITS.tokens) throw new YamlTooLargeError("too long");
    if (parser.stack.length > MAX_DEPTH) throw new YamlError("nested too deeply");
    yield* parser.next(lexeme);
  }
  yield* parser.end();
}

function syntaxError(text: string, offset: number): YamlError {
  const lines = text.slice(0, offset).split("\n");
  return new YamlError(`syntax error at line ${lines.length}, column ${(lines.at(-1) ?? "").length + 1}`);
}

function checkDocument(document: Document.Parsed): void {
  let aliases = 0;
  visit(document, {
    Alias() {
      aliases++;
      if (aliases > MAX_ALIASES) throw new YamlError("too many aliases");
    },
    Map(_, { items }) {
      const keys = items.map(({ key }) => {
        if (!isScalar(key)) throw new YamlError("a key is not a string");
        return String(key.value ?? "");
      });
      if (new Set(keys).size < keys.length) throw new DuplicateKeyError("a key is repeated");
    },
  });
}
