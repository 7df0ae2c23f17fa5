/** `extract-secret`: cluster -> file. */
import { launch } from "./launch.ts";

void launch("extract-secret", "extract", process.argv.slice(2));
