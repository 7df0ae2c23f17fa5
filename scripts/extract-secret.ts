import { main } from "./cli.ts";
import { extractCommand } from "./extract.ts";

await main("extract-secret", extractCommand, process.argv.slice(2));
