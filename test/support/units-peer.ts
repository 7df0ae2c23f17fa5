import { runUnits } from "./units.ts";

await runUnits(["peer", "x509", "util", "mesh", "render"]);
