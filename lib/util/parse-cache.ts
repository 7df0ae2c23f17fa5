/**
 * Results of parsing, each kept once: in a mesh of hundreds of clusters the same certificates and configs are in every one
 * of them. A command makes a cache and passes it on, so that what it holds, private keys among it, ends with the command.
 */
export class ParseCache {
  readonly #results = new Map<unknown, Map<unknown, unknown>>();

  /**
   * The result of a parser for an input, parsed once. What the parser throws is not kept.
   *
   * @param parser pure, and the same function at each call.
   * @param input texts are the same if they are equal, objects if they are one.
   * @returns the same object for the same input, not to be written to.
   */
  parse<Input, Output>(parser: (input: Input) => Output, input: Input): Output {
    return getOrCreate(this.#resultsOf(parser), input, () => parser(input)) as Output;
  }

  /** The result of a comparison, compared once, as in {@link parse}. */
  compare<A, B, Output>(comparison: (a: A, b: B) => Output, a: A, b: B): Output {
    const ofFirst = getOrCreate(this.#resultsOf(comparison), a, newResults) as Map<unknown, unknown>;
    return getOrCreate(ofFirst, b, () => comparison(a, b)) as Output;
  }

  /** The first of equal texts that came, so that the others need no memory. */
  intern(text: string): string {
    return this.parse(identity, text);
  }

  #resultsOf(parser: unknown): Map<unknown, unknown> {
    return getOrCreate(this.#results, parser, newResults);
  }
}

function getOrCreate<Key, Value>(map: Map<Key, Value>, key: Key, create: () => Value): Value {
  const known = map.get(key);
  if (known !== undefined || map.has(key)) return known as Value;
  const created = create();
  map.set(key, created);
  return created;
}

function newResults(): Map<unknown, unknown> {
  return new Map();
}

function identity(text: string): string {
  return text;
}
