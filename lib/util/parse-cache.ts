/**
 * A cache of parsed values: the same certificates and configs exist in each cluster of a mesh. Each command creates its
 * own cache, so that cached private keys do not outlive the command.
 */
export class ParseCache {
  readonly #results = new Map<unknown, Results>();

  /**
   * Returns the cached result of a parser for an input. Errors are not cached.
   *
   * @param parser - a pure function; its identity is part of the key.
   * @param input - compared by value if it is a string, by identity if it is an object, which is not kept alive.
   * @returns the same object for the same input; must not be modified.
   */
  parse<Input, Output>(parser: (input: Input) => Output, input: Input): Output {
    return this.#resultsOf(parser).getOrCreate(input, () => parser(input)) as Output;
  }

  /** Returns the cached result of a function of two inputs, as {@link parse} does for one. */
  compare<A, B, Output>(comparison: (a: A, b: B) => Output, a: A, b: B): Output {
    const results = this.#resultsOf(comparison).getOrCreate(a, () => new Results()) as Results;
    return results.getOrCreate(b, () => comparison(a, b)) as Output;
  }

  /** Returns the first of equal strings, so that the others can be garbage-collected. */
  intern(text: string): string {
    return this.parse(identity, text);
  }

  #resultsOf(parser: unknown): Results {
    const known = this.#results.get(parser) ?? new Results();
    this.#results.set(parser, known);
    return known;
  }
}

/** The results of one function by input. */
class Results {
  readonly #byValue = new Map<unknown, unknown>();
  readonly #byObject = new WeakMap<object, unknown>();

  getOrCreate(key: unknown, create: () => unknown): unknown {
    const isObject = typeof key === "object" && key !== null;
    const known = isObject ? this.#byObject.get(key) : this.#byValue.get(key);
    if (known !== undefined || (isObject ? this.#byObject.has(key) : this.#byValue.has(key))) return known;
    const created = create();
    if (isObject) this.#byObject.set(key, created);
    else this.#byValue.set(key, created);
    return created;
  }
}

function identity(text: string): string {
  return text;
}
