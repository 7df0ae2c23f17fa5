/** Code that V8 has compiled, kept from one run to the next. */
import { existsSync } from "node:fs";
import module from "node:module";
import { join } from "node:path";

/**
 * Has Node keep what V8 compiles in the user's cache folder, where Node can (22.8+): from the second run on, programs start
 * sooner. Where the folder cannot be written, nothing is kept. `NODE_DISABLE_COMPILE_CACHE` switches it off.
 */
export function enableCompileCache(env: NodeJS.ProcessEnv): void {
  const { enableCompileCache: enable } = module as { enableCompileCache?: (folder: string) => unknown };
  // Who has no home, as in a container, has no cache either; and a home that is not there is not made.
  const { HOME: home = "" } = env;
  if (!enable || (!env.XDG_CACHE_HOME && !existsSync(home))) return;
  enable(join(env.XDG_CACHE_HOME || join(home, ".cache"), "clustermesh-secrets", "compile-cache"));
}
