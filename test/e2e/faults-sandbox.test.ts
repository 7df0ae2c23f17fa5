/** Faults, kills and crowds on the sandbox. */
import { testFaults } from "../support/command-faults.ts";

testFaults("sandbox");
