// Loaded before a program: writes the CPU time that it took (microseconds) to the file that CPU_TIME names.
const { writeFileSync } = require("node:fs");
process.on("exit", () => {
  const { user, system } = process.cpuUsage();
  writeFileSync(process.env.CPU_TIME, String(user + system));
});
