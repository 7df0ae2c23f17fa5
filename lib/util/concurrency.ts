/**
 * Limits how many tasks run at a time.
 *
 * @returns a function that runs a task as soon as fewer than `limit` are running, and returns its result.
 */
export function limitConcurrency(limit: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (task) => {
    if (running < limit) running++;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running--;
    }
  };
}

/**
 * Runs generators concurrently and yields their values. A generator resumes once its last value has been consumed.
 *
 * @param sources - functions that start the generators.
 * @param limit - how many generators run at a time.
 * @throws the error of any generator. The others are then ended, as they are if the consumer stops early.
 */
export async function* mergeGenerators<T>(
  sources: readonly (() => AsyncGenerator<T, void>)[],
  limit: number,
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
      while (open.size < limit) {
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
