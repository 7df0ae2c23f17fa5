/**
 * Lets so many pieces of work run at a time; the others wait for their turn.
 *
 * @returns what runs a piece of work when there is room, and gives its result.
 */
export function limitConcurrency(most: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (running < most) running++;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running--;
    }
  };
}

/**
 * Runs generators side by side. Each goes on when the value that it yielded was handled.
 *
 * @param sources start the generators.
 * @param most how many run at a time.
 * @throws what one of them throws; the others are ended then, as they are if the result is ended early.
 */
export async function* mergeGenerators<T>(
  sources: readonly (() => AsyncGenerator<T, void>)[],
  most: number,
): AsyncGenerator<T, void> {
  const waiting = [...sources];
  const open = new Set<AsyncGenerator<T, void>>();
  const running = new Map<AsyncGenerator<T, void>, Promise<[AsyncGenerator<T, void>, IteratorResult<T, void>]>>();
  const advance = (generator: AsyncGenerator<T, void>) => {
    open.add(generator);
    running.set(
      generator,
      generator.next().then((result) => [generator, result]),
    );
  };
  try {
    for (;;) {
      while (open.size < most) {
        const start = waiting.shift();
        if (!start) break;
        advance(start());
      }
      if (running.size === 0) return;
      const [generator, { done, value }] = await Promise.race(running.values());
      running.delete(generator);
      if (done) {
        open.delete(generator);
        continue;
      }
      yield value as T;
      advance(generator);
    }
  } finally {
    await Promise.allSettled([...open].map((generator) => generator.return()));
  }
}
