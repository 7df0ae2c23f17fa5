import { extractMain } from "./extract.ts";

void extractMain("extract-secret", process.argv.slice(2));
