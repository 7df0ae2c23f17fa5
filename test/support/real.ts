/**
 * Real servers for tests: Kubernetes API servers, etcds as Cilium runs them, and Cilium's own programs, built by
 * `make assets`. All listen on 127.0.0.0/8 only and end with the test's process at the latest.
 */
export * from "./real-apiservers.ts";
export * from "./real-assets.ts";
export * from "./real-cilium.ts";
export * from "./real-etcd.ts";
export { freeAddress, freePort, waitFor } from "./real-process.ts";
