import { runUnits } from "./units.ts";

await runUnits(["peer", "mesh", "show"]);
