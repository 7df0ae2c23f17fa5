/**
 * Formats YAML, and parses untrusted YAML within limits. The parser of `yaml` takes quadratic time for many keys, and deep nesting
 * overflows its stack. Pure.
 */
import {
  Composer,
  type CST,
  Document,
  type ErrorCode,
  isScalar,
  Lexer,
  Parser,
  type Tags,
  visit,
  YAMLParseError,
} from "yaml";

/** Beyond these limits parsing takes seconds. A file of 510 peers has 2 MB and 130,000 tokens. */
export const YAML_LIMITS = { characters: 6_000_000, tokens: 250_000 };
const MAX_DEPTH = 100;
const MAX_ALIASES = 100;

/** YAML is invalid or exceeds a limit. The message never quotes the text. */
export class YamlError extends Error {}

/** A mapping has a duplicate key. */
export class DuplicateKeyError extends YamlError {}

/** The text exceeds {@link YAML_LIMITS}, whether it is valid or not. */
export class YamlTooLargeError extends YamlError {}

/** Codes for which the parser's message is constant, so it cannot quote the text. */
const FIXED_MESSAGES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "ALIAS_PROPS",
  "BAD_ALIAS",
  "BAD_INDENT",
  "BAD_PROP_ORDER",
  "BLOCK_AS_IMPLICIT_KEY",
  "BLOCK_IN_FLOW",
  "KEY_OVER_1024_CHARS",
  "MISSING_CHAR",
  "MULTILINE_IMPLICIT_KEY",
  "MULTIPLE_ANCHORS",
  "MULTIPLE_TAGS",
  "TAB_AS_INDENT",
]);

/** Descriptions for codes whose messages may quote the text. */
const DESCRIPTIONS: Partial<Record<ErrorCode, string>> = {
  BAD_COLLECTION_TYPE: "a tag does not fit its collection",
  BAD_DIRECTIVE: "invalid directive",
  BAD_DQ_ESCAPE: "invalid escape sequence in double quotes",
  BAD_SCALAR_START: "an unquoted value starts with a reserved character",
  DUPLICATE_KEY: "duplicate key",
  RESOURCE_EXHAUSTION: "nested too deeply",
  TAG_RESOLVE_FAILED: "a value does not fit its tag",
  UNEXPECTED_TOKEN: "unexpected token",
};

/**
 * Describes a parser error by position and reason, without quoting the text: `line 2, column 5: unexpected token`.
 *
 * @param error - from a parser with `prettyErrors: false`, since pretty messages quote the text.
 */
export function describeYamlError(text: string, { code, message, pos }: YAMLParseError): string {
  const lines = text.slice(0, pos[0]).split("\n");
  const reason = FIXED_MESSAGES.has(code) ? uncapitalize(message) : (DESCRIPTIONS[code] ?? "cannot be parsed");
  return `line ${lines.length}, column ${(lines.at(-1) ?? "").length + 1}: ${reason}`;
}

function uncapitalize(text: string): string {
  return text.charAt(0).toLowerCase() + text.substring(1);
}

/**
 * Strings that some reader of YAML 1.1 or 1.2 takes for something else, or refuses, without quotes. go-yaml, by which Kubernetes and
 * Helm read, takes `0o17` of YAML 1.2 besides those of YAML 1.1; the numbers of base 60 and `=` are only in YAML 1.1.
 */
const AMBIGUOUS_SCALARS: readonly RegExp[] = [
  /^(?:\t|\s*(?:\n|$))/,
  /^(?:~|null|y|n|yes|no|on|off|true|false|<<|=)$/i,
  /^[-+]?\.(?:inf|nan)$/i,
  /^[-+]?0[box][-+]?[0-9a-f]+$/i,
  /^[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:e[-+]?[0-9_]+)?$/i,
  /^[-+]?\.[0-9_]+(?:e[-+]?[0-9_]+)?$/i,
  /^[-+]?[0-9][0-9_]*(?::[0-9]+)+(?:\.[0-9_]*)?$/,
  /^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt\s].*)?$/,
];

/**
 * Characters that YAML does not permit as they are, and those that only some parsers take for line breaks: U+0085, U+2028 and
 * U+2029 are breaks in YAML 1.1, and not in YAML 1.2. The library quotes some of them, and escapes none.
 */
const UNSAFE_CHARACTERS = /[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]/;

/**
 * Converts a value to a YAML 1.1 document without aliases. Strings, also those that are keys, are quoted if a reader could take
 * them for something else.
 */
export function toYamlDocument(value: unknown): Document {
  const document = new Document(value, { version: "1.1", aliasDuplicateObjects: false, customTags: omitMerge });
  visit(document, {
    Scalar(_, node) {
      const { value: text } = node;
      if (typeof text === "string" && isAmbiguous(text)) node.type = "QUOTE_DOUBLE";
    },
  });
  return document;
}

function isAmbiguous(text: string): boolean {
  // go-yaml ignores underscores anywhere in a number.
  const compact = text.replaceAll("_", "");
  return UNSAFE_CHARACTERS.test(text) || AMBIGUOUS_SCALARS.some((one) => one.test(text) || one.test(compact));
}

/** The tag of merges prints the string `<<` without quotes. */
function omitMerge(tags: Tags): Tags {
  return tags.filter((one) => one !== "merge" && (typeof one === "string" || one.tag !== "tag:yaml.org,2002:merge"));
}

/** Formats a value as YAML 1.1, which Kubernetes and Helm read, without breaking lines. The output is deterministic. */
export function formatYaml(value: unknown): string {
  return formatYamlDocument(toYamlDocument(value));
}

/** Formats a document of {@link toYamlDocument}, without breaking lines. */
export function formatYamlDocument(document: Document): string {
  const escapeChar = (char: string) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  // All strings with such characters are in double quotes.
  return document.toString({ lineWidth: 0 }).replace(new RegExp(UNSAFE_CHARACTERS, "g"), escapeChar);
}

/**
 * Parses a stream of YAML documents, lazily.
 *
 * @throws YamlError if a document is invalid or exceeds the limits.
 */
export function* parseYamlDocuments(text: string): Generator<unknown, void> {
  for (const document of new Composer({ logLevel: "silent", uniqueKeys: false }).compose(validTokens(text))) {
    const [error] = document.errors;
    if (error) throw syntaxError(text, error);
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
    if (token.type === "error") {
      const { offset, message } = token;
      throw syntaxError(text, new YAMLParseError([offset, offset + 1], "UNEXPECTED_TOKEN", message));
    }
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

function syntaxError(text: string, error: YAMLParseError): YamlError {
  return new YamlError(`syntax error at ${describeYamlError(text, error)}`);
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
      if (new Set(keys).size < keys.length) throw new DuplicateKeyError("duplicate key");
    },
  });
}
