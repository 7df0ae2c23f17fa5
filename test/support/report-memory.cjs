// Preloaded with --require: writes the peak memory of the process, in KiB, to the file USAGE.
const { writeFileSync } = require("node:fs");
process.on("exit", () => writeFileSync(process.env.USAGE, String(process.resourceUsage().maxRSS)));
