import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1DaemonSet, V1Deployment } from "@kubernetes/client-node";
import { deriveFacts, type FactSources } from "../../lib/cilium/facts.ts";

function workload(kind: "agents" | "deployment", image: string, labels: Record<string, string> = {}): V1Deployment {
  const name = kind === "agents" ? "cilium-agent" : "apiserver";
  return {
    metadata: { name: kind, labels },
    spec: { selector: {}, template: { spec: { containers: [{ name, image }] } } },
  };
}

function facts(config: Record<string, string>, more: Partial<FactSources> = {}) {
  return deriveFacts({
    namespace: "kube-system",
    config: { "cluster-name": "c1", "cluster-id": "7", ...config },
    deployment: workload("deployment", "quay.io/cilium/clustermesh-apiserver:v1.18.2"),
    agents: undefined,
    service: undefined,
    clientCertificate: undefined,
    nodes: undefined,
    ...more,
  });
}

test("detects the version by the agent's image tag, for any registry and with a digest", () => {
  const digest = `@sha256:${"0".repeat(64)}`;
  const images: [string, string | undefined][] = [
    ["quay.io/cilium/cilium:v1.19.6", "1.19.6"],
    [`quay.io/cilium/cilium:v1.20.0-rc.1${digest}`, "1.20.0"],
    ["mirror.local:5000/quay/cilium/cilium:1.14", "1.14"],
    [`mirror.local:5000/cilium${digest}`, undefined],
    ["mirror.local:5000/cilium", undefined],
    ["cilium/cilium:latest", undefined],
  ];
  for (const [image, expected] of images) {
    const deployment = workload("deployment", "cilium/clustermesh-apiserver:latest");
    const agents = workload("agents", image) as unknown as V1DaemonSet;
    assert.equal(facts({}, { agents, deployment }).version, expected, image);
  }
  assert.equal(facts({}).version, "1.18.2", "that of the apiserver image if agents are forbidden");
});

test("detects the version by labels if no image has a version tag", () => {
  const labelled = (labels: Record<string, string>) =>
    facts({}, { deployment: workload("deployment", "apiserver", labels) }).version;
  assert.equal(labelled({ "helm.sh/chart": "cilium-1.20.2" }), "1.20.2");
  assert.equal(labelled({ "app.kubernetes.io/version": "1.16.5" }), "1.16.5");
  assert.equal(labelled({}), undefined);
});

test("detects kube-proxy replacement by the values of all Cilium versions", () => {
  const values: [Record<string, string>, boolean | undefined][] = [
    [{ "kube-proxy-replacement": "true" }, true],
    [{ "kube-proxy-replacement": "strict" }, true],
    [{ "kube-proxy-replacement": "false" }, false],
    [{ "kube-proxy-replacement": "disabled" }, false],
    [{ "kube-proxy-replacement": "probe" }, undefined],
    [{ "kube-proxy-replacement": "partial" }, undefined],
    [{ "kube-proxy-replacement": "partial", "enable-node-port": "true" }, true],
    [{}, undefined],
  ];
  for (const [config, expected] of values) {
    assert.equal(facts(config).kubeProxyReplacement, expected, JSON.stringify(config));
  }
});

test("detects the routing mode by the options before and since 1.14", () => {
  const routing = (config: Record<string, string>) => {
    const { routingMode, tunnelProtocol } = facts(config);
    return [routingMode, tunnelProtocol];
  };
  assert.deepEqual(routing({ tunnel: "geneve" }), ["tunnel", "geneve"]);
  assert.deepEqual(routing({ tunnel: "disabled" }), ["native", undefined]);
  assert.deepEqual(routing({ "routing-mode": "native", "tunnel-protocol": "vxlan" }), ["native", undefined]);
  assert.deepEqual(routing({ "routing-mode": "tunnel" }), ["tunnel", "vxlan"]);
  assert.deepEqual(routing({ "routing-mode": "tunnel", "tunnel-protocol": "geneve" }), ["tunnel", "geneve"]);
  assert.deepEqual(routing({}), [undefined, undefined]);
});

test("detects encryption, IP families and maxConnectedClusters", () => {
  assert.equal(facts({ "enable-wireguard": "true" }).encryption, "wireguard");
  assert.equal(facts({ "enable-ipsec": "true", "enable-wireguard": "false" }).encryption, "ipsec");
  assert.equal(facts({}).encryption, "none");
  assert.deepEqual(facts({ "enable-ipv4": "false", "enable-ipv6": "true" }).ipFamilies, ["IPv6"]);
  assert.equal(facts({}).ipFamilies, undefined);
  assert.equal(facts({}).maxConnectedClusters, 255);
  assert.equal(facts({ "max-connected-clusters": "511" }).maxConnectedClusters, 511);
});

test("leaves out empty names and invalid ids", () => {
  assert.equal(facts({ "cluster-name": "" }).name, undefined);
  assert.equal(facts({ "cluster-id": "none" }).id, undefined);
  assert.equal(facts({ "cluster-id": "0" }).id, 0);
});

test("collects the pod CIDRs of cluster pools, sorted and without duplicates", () => {
  const pools = { ipam: "cluster-pool", "cluster-pool-ipv4-cidr": "10.5.0.0/16 10.4.0.0/16 10.5.0.0/16" };
  assert.deepEqual(facts({ ...pools, "cluster-pool-ipv6-cidr": "fd00::/104" }).podCidrs, [
    "10.4.0.0/16",
    "10.5.0.0/16",
    "fd00::/104",
  ]);
  assert.equal(facts({ ...pools, ipam: "multi-pool" }).podCidrs, undefined);
});
