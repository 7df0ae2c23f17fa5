import { runUnits } from "./units.ts";

await runUnits(["sync"]);
