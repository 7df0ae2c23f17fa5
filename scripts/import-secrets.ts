/** `import-secrets`: files -> clusters. */
import { launch } from "./launch.ts";

void launch("import-secrets", "import", process.argv.slice(2));
