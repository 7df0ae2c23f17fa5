import { runUnits } from "./units.ts";

await runUnits(["exchange", "cli"]);
