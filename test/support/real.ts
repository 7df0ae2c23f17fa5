/**
 * Real servers, built by `make assets`: kube-apiserver, etcd and clustermesh-apiserver. They listen on 127.0.0.0/8 only, and
 * exit with the test process at the latest.
 */
export * from "./real-apiservers.ts";
export * from "./real-assets.ts";
export * from "./real-cilium.ts";
export * from "./real-etcd.ts";
export { freeAddress, freePort, waitFor } from "./real-process.ts";
