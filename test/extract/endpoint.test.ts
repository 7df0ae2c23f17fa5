import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1Pod, V1Service } from "@kubernetes/client-node";
import fc from "fast-check";
import type { NodeInfo } from "../../lib/cilium/nodes.ts";
import { chooseEndpoint, type EndpointOptions, type EndpointSource } from "../../lib/extract/endpoint.ts";
import { UserError } from "../../lib/util/errors.ts";

const CHART = ["*.mesh.cilium.io", "clustermesh-apiserver.kube-system.svc", "127.0.0.1", "::1"];
const MESH = "https://c2.mesh.cilium.io";

function nodeOf(name: string, day: number, ips: string[], more: Partial<NodeInfo> = {}): NodeInfo {
  return {
    name,
    created: `2026-01-${String(day).padStart(2, "0")}T00:00:00Z`,
    ready: true,
    eligible: true,
    addresses: ips.map((address) => ({ type: "InternalIP", address })),
    podCidrs: [],
    ...more,
  };
}

const NODES = [
  nodeOf("n4", 4, ["10.0.0.4"]),
  nodeOf("n2", 2, ["10.0.0.2"]),
  nodeOf("n1", 1, ["10.0.0.10"]),
  nodeOf("n3", 3, ["10.0.0.3"]),
];

function serviceOf(spec: V1Service["spec"], ingress?: { ip?: string; hostname?: string }[]): V1Service {
  return {
    metadata: { name: "clustermesh-apiserver" },
    spec: { ports: [{ port: 2379, ...(spec?.type === "NodePort" && { nodePort: 32379 }) }], ...spec },
    status: { loadBalancer: ingress ? { ingress } : {} },
  };
}

function podOn(nodeName: string, ready: boolean): V1Pod {
  return {
    metadata: { name: `pod-${nodeName}` },
    spec: { nodeName, containers: [] },
    status: { conditions: [{ type: "Ready", status: ready ? "True" : "False" }] },
  };
}

interface Case {
  service?: V1Service | undefined;
  nodes?: NodeInfo[];
  pods?: V1Pod[];
  names?: string[];
  options?: Partial<EndpointOptions>;
}

async function choose({ nodes = NODES, pods = [], names = CHART, options = {}, ...rest }: Case = {}) {
  const source: EndpointSource = {
    cluster: "c2",
    serverNames: names,
    service: () => ("service" in rest ? rest.service : serviceOf({ type: "NodePort" })),
    nodes: () => nodes,
    pods: () => pods,
  };
  return chooseEndpoint(source, {
    endpoints: [],
    addresses: 3,
    addressTypes: ["InternalIP", "ExternalIP"],
    clusterIp: false,
    resolve: async (name) => {
      if (name === "lb.example.com") return ["203.0.113.9", "203.0.113.10", "2001:db8::9"];
      if (name === "empty.example.com") return [];
      throw new Error(`ENOTFOUND ${name}`);
    },
    ...options,
  });
}

const aliases = (...ips: string[]) => [{ hostname: "c2.mesh.cilium.io", ips }];

async function assertRejected(input: Case, exitCode: number, ...patterns: RegExp[]) {
  await assert.rejects(choose(input), (error) => {
    assert.ok(error instanceof UserError, String(error));
    assert.equal(error.exitCode, exitCode, error.message);
    for (const pattern of patterns) assert.match(error.message, pattern);
    assert.ok(error.message.split("\n").length <= 2, error.message);
    return true;
  });
}

test("NodePort: one URL with a covered name, and aliases of the oldest nodes in numeric order", async () => {
  assert.deepEqual(await choose(), {
    endpoints: [`${MESH}:32379`],
    hostAliases: aliases("10.0.0.2", "10.0.0.3", "10.0.0.10"),
    warnings: [],
  });
  assert.deepEqual((await choose({ options: { addresses: 1 } })).hostAliases, aliases("10.0.0.10"));
  assert.equal((await choose({ options: { addresses: 9 } })).hostAliases[0]?.ips.length, 4);
});

test("chooses nodes of the same age by name", async () => {
  const nodes = ["b", "a", "c"].map((name, i) => nodeOf(name, 1, [`10.0.0.${i + 1}`]));
  assert.deepEqual((await choose({ nodes, options: { addresses: 2 } })).hostAliases, aliases("10.0.0.1", "10.0.0.2"));
});

test("leaves out ineligible nodes, and fails if no node is eligible", async () => {
  const nodes = NODES.map((node) => (node.name === "n1" ? { ...node, eligible: false } : node));
  assert.deepEqual((await choose({ nodes })).hostAliases, aliases("10.0.0.2", "10.0.0.3", "10.0.0.4"));
  await assertRejected({ nodes: [] }, 1, /no eligible nodes/, /--endpoint/);
  await assertRejected({ nodes: NODES.map((node) => ({ ...node, eligible: false })) }, 1, /no eligible nodes/);
});

test("forbidden nodes are an error only if the Service type is NodePort", async () => {
  const forbidden = () => {
    throw new UserError("not allowed to list Nodes", 1);
  };
  const source = { cluster: "c2", serverNames: CHART, nodes: forbidden, pods: () => [] };
  const options: EndpointOptions = {
    endpoints: ["10.1.1.1:2379"],
    addresses: 3,
    addressTypes: ["InternalIP"],
    clusterIp: false,
    resolve: async () => [],
  };
  const service = () => serviceOf({ type: "NodePort" });
  assert.deepEqual((await chooseEndpoint({ ...source, service }, options)).hostAliases, aliases("10.1.1.1"));
  await assert.rejects(chooseEndpoint({ ...source, service }, { ...options, endpoints: [] }), /not allowed/);
});

test("uses both families of dual-stack nodes, and brackets around IPv6 addresses in URLs", async () => {
  const nodes = [nodeOf("a", 1, ["10.0.0.1", "fd00::1"]), nodeOf("b", 2, ["10.0.0.2", "fd00::2"])];
  assert.deepEqual((await choose({ nodes })).hostAliases, aliases("10.0.0.1", "10.0.0.2", "fd00::1"));
  assert.deepEqual(
    (await choose({ nodes, options: { addresses: 4 } })).hostAliases,
    aliases("10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"),
  );
  const single = await choose({ nodes: [nodeOf("a", 1, ["fd00::1"])], names: ["fd00::1"] });
  assert.deepEqual(single.endpoints, ["https://[fd00::1]:32379"]);
});

test("--address-type sets the preferred types; each node contributes addresses of its first available type", async () => {
  const nodes = [
    nodeOf("a", 1, ["10.0.0.1"], {
      addresses: [
        { type: "InternalIP", address: "10.0.0.1" },
        { type: "ExternalIP", address: "198.51.100.1" },
      ],
    }),
    nodeOf("b", 2, ["10.0.0.2"]),
  ];
  assert.deepEqual((await choose({ nodes })).hostAliases, aliases("10.0.0.1", "10.0.0.2"));
  const external = await choose({ nodes, options: { addressTypes: ["ExternalIP", "InternalIP"] } });
  assert.deepEqual(external.hostAliases, aliases("10.0.0.2", "198.51.100.1"));
  const only = await choose({ nodes, options: { addressTypes: ["ExternalIP"] } });
  assert.deepEqual(only.hostAliases, aliases("198.51.100.1"));
  await assertRejected(
    { nodes: [nodeOf("b", 2, ["10.0.0.2"])], options: { addressTypes: ["ExternalIP"] } },
    1,
    /ExternalIP/,
  );
});

test("uses an address covered by the certificate in the URL", async () => {
  const one = await choose({ nodes: [nodeOf("a", 1, ["10.0.0.1"])], names: [...CHART, "10.0.0.1"] });
  assert.deepEqual(one, { endpoints: ["https://10.0.0.1:32379"], hostAliases: [], warnings: [] });
  const uncoveredName = await choose({ names: ["clustermesh.example.com", "10.0.0.3"] });
  assert.deepEqual(uncoveredName.endpoints, ["https://10.0.0.3:32379"]);
  assert.deepEqual(uncoveredName.hostAliases, []);
});

test("fails with the covered names and a remedy if the certificate covers none of the candidates", async () => {
  await assertRejected(
    { names: ["etcd.example.com"] },
    1,
    /c2\.mesh\.cilium\.io/,
    /etcd\.example\.com/,
    /extraDnsNames/,
  );
  // A wildcard matches a single label.
  await assertRejected({ names: ["*.cilium.io"] }, 1, /--endpoint/);
});

test("externalTrafficPolicy Local: uses only nodes with ready pods, cordoned or not, and warns", async () => {
  const service = serviceOf({ type: "NodePort", externalTrafficPolicy: "Local" });
  const pods = [podOn("n3", true), podOn("n4", false)];
  const { hostAliases, warnings } = await choose({ service, pods });
  assert.deepEqual(hostAliases, aliases("10.0.0.3"));
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? "", /Local/);
  const cordoned = NODES.map((node) => ({ ...node, eligible: false }));
  assert.deepEqual((await choose({ service, pods, nodes: cordoned })).hostAliases, aliases("10.0.0.3"));
  // While no pod is ready, the nodes of all pods are used.
  assert.deepEqual((await choose({ service, pods: [podOn("n4", false)] })).hostAliases, aliases("10.0.0.4"));
  await assertRejected({ service, pods: [] }, 1, /--endpoint/);
});

test("externalTrafficPolicy Cluster: does not depend on the nodes of pods", async () => {
  assert.deepEqual(await choose({ pods: [podOn("n3", true)] }), await choose({ pods: [podOn("n4", true)] }));
});

test("LoadBalancer: uses IPs as aliases, with the port of the Service", async () => {
  const service = serviceOf({ type: "LoadBalancer", ports: [{ port: 2379, nodePort: 31000 }] }, [
    { ip: "203.0.113.20" },
    { ip: "203.0.113.3" },
  ]);
  assert.deepEqual(await choose({ service }), {
    endpoints: [`${MESH}:2379`],
    hostAliases: aliases("203.0.113.3", "203.0.113.20"),
    warnings: [],
  });
  const covered = serviceOf({ type: "LoadBalancer" }, [{ ip: "203.0.113.3" }]);
  assert.deepEqual((await choose({ service: covered, names: [...CHART, "203.0.113.3"] })).endpoints, [
    "https://203.0.113.3:2379",
  ]);
});

test("LoadBalancer: uses a covered hostname as endpoint, and pins the addresses of others", async () => {
  const service = serviceOf({ type: "LoadBalancer" }, [{ hostname: "lb.example.com" }]);
  assert.deepEqual(await choose({ service, names: [...CHART, "*.example.com"] }), {
    endpoints: ["https://lb.example.com:2379"],
    hostAliases: [],
    warnings: [],
  });
  const { endpoints, hostAliases, warnings } = await choose({ service });
  assert.deepEqual(endpoints, [`${MESH}:2379`]);
  assert.deepEqual(hostAliases, aliases("203.0.113.9", "203.0.113.10", "2001:db8::9"));
  assert.match(warnings.join(), /lb\.example\.com.*can change/);
});

test("LoadBalancer: fails without an address, or if its hostname cannot be resolved", async () => {
  const named = (hostname: string) => serviceOf({ type: "LoadBalancer" }, [{ hostname }]);
  await assertRejected({ service: serviceOf({ type: "LoadBalancer" }) }, 1, /--wait/);
  await assertRejected({ service: serviceOf({ type: "LoadBalancer" }, []) }, 1, /--wait/);
  await assertRejected({ service: named("gone.example.com") }, 1, /gone\.example\.com/, /--endpoint/);
  await assertRejected({ service: named("empty.example.com") }, 1, /empty\.example\.com/, /--endpoint/);
});

test("ClusterIP: requires --cluster-ip", async () => {
  const service = serviceOf({ type: "ClusterIP", clusterIP: "10.96.0.9", clusterIPs: ["10.96.0.9", "fd00:96::9"] });
  await assertRejected({ service }, 1, /--cluster-ip/, /--endpoint/);
  await assertRejected({ service: serviceOf({ clusterIP: "10.96.0.9" }) }, 1, /ClusterIP/);
  const { endpoints, hostAliases } = await choose({ service, options: { clusterIp: true } });
  assert.deepEqual(endpoints, [`${MESH}:2379`]);
  assert.deepEqual(hostAliases, aliases("10.96.0.9", "fd00:96::9"));
  await assertRejected({ service: serviceOf({ clusterIP: "None" }), options: { clusterIp: true } }, 1, /no cluster IP/);
});

test("fails with remedies if the Service does not exist", async () => {
  await assertRejected({ service: undefined }, 1, /--service/, /--endpoint/);
  assert.deepEqual((await choose({ service: undefined, options: { endpoints: ["10.9.9.9:443"] } })).endpoints, [
    `${MESH}:443`,
  ]);
});

test("--endpoint: uses addresses as aliases of the covered name", async () => {
  const { endpoints, hostAliases } = await choose({
    options: { endpoints: ["10.1.0.2:443", "[fd00::5]:443", "10.1.0.1:443"] },
  });
  assert.deepEqual(endpoints, [`${MESH}:443`]);
  assert.deepEqual(hostAliases, aliases("10.1.0.1", "10.1.0.2", "fd00::5"));
});

test("--endpoint: uses a covered name, with or without addresses, and pins the addresses of others", async () => {
  const names = [...CHART, "mesh.example.com"];
  assert.deepEqual(await choose({ names, options: { endpoints: ["mesh.example.com:443"] } }), {
    endpoints: ["https://mesh.example.com:443"],
    hostAliases: [],
    warnings: [],
  });
  assert.deepEqual(
    (await choose({ names, options: { endpoints: ["10.1.0.1:443", "mesh.example.com:443"] } })).hostAliases,
    [{ hostname: "mesh.example.com", ips: ["10.1.0.1"] }],
  );
  const pinned = await choose({ options: { endpoints: ["lb.example.com:443"] } });
  assert.deepEqual(pinned.endpoints, [`${MESH}:443`]);
  assert.equal(pinned.hostAliases[0]?.ips.length, 3);
  assert.match(pinned.warnings.join(), /lb\.example\.com/);
});

test("--endpoint: rejects several names, several ports and invalid values", async () => {
  await assertRejected({ options: { endpoints: ["a.example.com:443", "b.example.com:443"] } }, 2, /host name/);
  await assertRejected({ options: { endpoints: ["10.0.0.1:443", "10.0.0.2:444"] } }, 2, /same port/);
  for (const text of ["10.0.0.1", "https://10.0.0.1:443", "10.0.0.1:0", "10.0.0.1:70000", "fd00::5:443", "a b:1", ""]) {
    await assertRejected({ options: { endpoints: [text] } }, 2, /must be HOST:PORT/);
  }
});

test("uses the port of an externally created Service that maps to 2379, regardless of its name", async () => {
  const ports = [
    { name: "metrics", port: 9962, nodePort: 30001 },
    { name: "etcd", port: 443, targetPort: 2379, nodePort: 30002 },
  ];
  assert.deepEqual((await choose({ service: serviceOf({ type: "NodePort", ports }) })).endpoints, [`${MESH}:30002`]);
  await assertRejected({ service: serviceOf({ type: "NodePort", ports: [] }) }, 1, /no port/);
});

test("property: the endpoint does not depend on the order of nodes and addresses", async () => {
  const ip = fc
    .tuple(fc.integer({ min: 1, max: 254 }), fc.integer({ min: 1, max: 254 }))
    .map((ab) => `10.0.${ab.join(".")}`);
  const node = fc.record({ day: fc.integer({ min: 1, max: 4 }), ip, eligible: fc.boolean() });
  const cluster = fc
    .uniqueArray(node, { minLength: 1, maxLength: 12, selector: (one) => one.ip })
    .filter((all) => all.some(({ eligible }) => eligible))
    .map((all) => all.map(({ day, ip, eligible }, i) => nodeOf(`n${i}`, day, [ip], { eligible })));
  await fc.assert(
    fc.asyncProperty(
      cluster.chain((nodes) =>
        fc.tuple(
          fc.constant(nodes),
          fc.shuffledSubarray(nodes, { minLength: nodes.length }),
          fc.integer({ min: 1, max: 5 }),
        ),
      ),
      async ([nodes, shuffled, addresses]) => {
        const first = await choose({ nodes, options: { addresses } });
        assert.deepEqual(await choose({ nodes: shuffled, options: { addresses } }), first);
        const ips = first.hostAliases[0]?.ips ?? [];
        const eligible = nodes.filter((one) => one.eligible);
        assert.equal(ips.length, Math.min(addresses, eligible.length));
        // Every eligible node that is not used is at least as young as those used.
        const isUsed = (one: NodeInfo) => ips.includes(one.addresses[0]?.address ?? "");
        const youngest = Math.max(...eligible.filter(isUsed).map((one) => Date.parse(one.created)));
        for (const one of eligible) assert.ok(isUsed(one) || Date.parse(one.created) >= youngest);
      },
    ),
    { numRuns: 200 },
  );
});

test("does not use a loopback address in the URL, even if the certificate covers it", async () => {
  const nodes = [nodeOf("n1", 1, ["127.0.0.1"])];
  assert.deepEqual(await choose({ nodes }), {
    endpoints: [`${MESH}:32379`],
    hostAliases: aliases("127.0.0.1"),
    warnings: [],
  });
  const service = serviceOf({ type: "LoadBalancer" }, [{ ip: "127.0.0.1" }]);
  assert.deepEqual((await choose({ service })).hostAliases, aliases("127.0.0.1"));
  const names = ["127.0.0.1", "localhost"];
  await assertRejected({ nodes, names }, 1, /--endpoint/);
  await assertRejected(
    { names, options: { endpoints: ["localhost:2379"] } },
    2,
    /node-local: reachable only from the same node/,
  );
  const local = serviceOf({ type: "LoadBalancer" }, [{ hostname: "localhost" }]);
  await assertRejected({ names, service: local }, 1, /node-local: reachable only from the same node/);
});
