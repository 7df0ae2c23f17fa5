// Preloaded with --require: shifts the clock by the milliseconds in the file CLOCK_SHIFT, read at the start and on SIGUSR2.
const { readFileSync } = require("node:fs");
const RealDate = Date;
const readShift = () => Number(readFileSync(process.env.CLOCK_SHIFT, "utf8"));
let shift = readShift();
process.on("SIGUSR2", () => {
  shift = readShift();
});
globalThis.Date = class ShiftedDate extends RealDate {
  constructor(...args) {
    super(...(args.length === 0 ? [RealDate.now() + shift] : args));
  }
  static now() {
    return RealDate.now() + shift;
  }
};
