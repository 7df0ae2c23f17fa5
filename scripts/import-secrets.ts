/** `import-secrets`: merges secret files into clusters. */
import { launch } from "./launch.ts";

void launch("import-secrets", "import", process.argv.slice(2));
