/** `extract-secret`: writes the secret of a cluster to a file. */
import { launch } from "./launch.ts";

void launch("extract-secret", "extract", process.argv.slice(2));
