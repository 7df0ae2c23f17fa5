// Loaded before a program: writes the most memory that it had (KiB) to the file that USAGE names.
const { writeFileSync } = require("node:fs");
process.on("exit", () => writeFileSync(process.env.USAGE, String(process.resourceUsage().maxRSS)));
