/** Faults, kills and crowds on real API servers. */
import { testFaults } from "../support/command-faults.ts";

testFaults("real");
