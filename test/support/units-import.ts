import { runUnits } from "./units.ts";

await runUnits(["import", "extract", "manifests", "cli"]);
