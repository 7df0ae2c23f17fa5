/**
 * A cache of parsed values: the same certificates and configs exist in each cluster of a mesh. Each command creates its
 * own cache, so that cached private keys do not outlive the command.
 */
export class ParseCache {
  readonly #results = new Map<unknown, Map<unknown, unknown>>();

  /**
   * Returns the cached result of a parser for an input. Errors are not cached.
   *
   * @param parser - a pure function; its identity is part of the key.
   * @param input - compared by value if it is a string, by identity if it is an object.
   * @returns the same object for the same input; must not be modified.
   */
  parse<Input, Output>(parser: (input: Input) => Output, input: Input): Output {
    return getOrCreate(this.#resultsOf(parser), input, () => parser(input)) as Output;
  }

  /** Returns the cached result of a function of two inputs, as {@link parse} does for one. */
  compare<A, B, Output>(comparison: (a: A, b: B) => Output, a: A, b: B): Output {
    const results = getOrCreate(this.#resultsOf(comparison), a, newResults) as Map<unknown, unknown>;
    return getOrCreate(results, b, () => comparison(a, b)) as Output;
  }

  /** Returns the first of equal strings, so that the others can be garbage-collected. */
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
