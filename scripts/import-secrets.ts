import { importMain } from "./import.ts";

void importMain("import-secrets", process.argv.slice(2));
