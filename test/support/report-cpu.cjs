// Preloaded with --require: writes the CPU time of the process, in microseconds, to the file CPU_TIME.
const { writeFileSync } = require("node:fs");
process.on("exit", () => {
  const { user, system } = process.cpuUsage();
  writeFileSync(process.env.CPU_TIME, String(user + system));
});
