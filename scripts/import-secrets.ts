import { main } from "./cli.ts";
import { importCommand } from "./import.ts";

await main("import-secrets", importCommand, process.argv.slice(2));
