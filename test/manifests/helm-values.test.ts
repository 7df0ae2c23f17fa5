import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { parse } from "yaml";
import type { Target } from "../../lib/import/plan/target.ts";
import type { ClusterValues } from "../../lib/manifests/helm-values.ts";
import { type RenderOptions, renderTarget } from "../../lib/manifests/render.ts";
import type { SourcedPeer } from "../../lib/peer/peer.ts";
import { decodeFiles, readEntries } from "../../lib/peer/secret.ts";
import { clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import type { ClusterDescription, PeerDescription } from "../../lib/sandbox/description.ts";
import { aliasesOf } from "../support/apply-plan.ts";
import { describeCluster } from "../support/cluster.ts";
import { caOf, clientOf } from "../support/material.ts";
import { COMMON, configText, OPTIONS, peerOf, secretOf, targetOf, VERSIONS } from "../support/targets.ts";

const { tls, users, now } = OPTIONS;
const options: RenderOptions = { tls, users, now, form: "helm-values", whole: false };
const render = (target: Target, peers: SourcedPeer[], more: Partial<RenderOptions> = {}) =>
  renderTarget(target, peers, { ...options, ...more });

interface Values {
  clustermesh: { config: { enabled: boolean; domain?: string; clusters: ClusterValues[] } };
}

function valuesOf({ files, findings }: ReturnType<typeof render>): Values["clustermesh"]["config"] {
  const [file, ...others] = files;
  assert.ok(file && others.length === 0, JSON.stringify(findings));
  assert.equal(file.path, "values.yaml");
  return (parse(file.text, { version: "1.1" }) as Values).clustermesh.config;
}

const decode = (text: string) => Buffer.from(text, "base64").toString();

/** Reads an entry of the values as the chart does. */
function toPeerDescription([name, { ips, address, port, tls }]: [string, ClusterValues]): PeerDescription {
  return {
    name,
    ...(ips && { ips }),
    ...(address !== undefined && { address }),
    port,
    ...(tls && {
      tls: {
        cert: decode(tls.cert),
        key: decode(tls.key),
        ...(tls.caCert !== undefined && { ca: decode(tls.caCert) }),
      },
    }),
  };
}

const CHARTS = VERSIONS.filter((version) => Number(version.slice(2)) >= 14);
const shared = { ca: { pem: caOf("own").cert }, client: clientOf(caOf("own")) };
const peers = [
  peerOf("c2", 2, shared),
  peerOf("c3", 3),
  peerOf("c4", 4, { ...shared, endpoints: ["https://lb.example.com:2379"], hostAliases: [] }),
  peerOf("c5", 5, { ...shared, endpoints: ["https://[fd00::5]:2379"], hostAliases: [] }),
];

test("the chart of each version writes the peers that an import writes", () => {
  for (const version of CHARTS) {
    for (const kvstoreMesh of [false, true]) {
      const target = targetOf(version, { kvstoreMesh });
      const { clusters } = valuesOf(render(target, peers));
      assert.equal(Array.isArray(clusters), Number(version.slice(2)) <= 18, version);
      const named = Array.isArray(clusters)
        ? clusters.map(({ name = "", ...one }): [string, ClusterValues] => [name, one])
        : Object.entries<ClusterValues>(clusters);
      const description: ClusterDescription = describeCluster({
        name: "own",
        version,
        kvstoremesh: kvstoreMesh,
        configEnabled: true,
        peers: named.map(toPeerDescription),
      });
      const objects = clusterObjects(description, clusterPki(description, {}));
      const remote = kvstoreMesh ? "cilium-kvstoremesh" : "cilium-clustermesh";
      const secret = objects.find(({ kind, metadata }) => kind === "Secret" && metadata.name === remote);
      const written = readEntries(decodeFiles(secret as unknown as V1Secret, { source: "" }), {}, "");
      const pick = (one: (typeof written)[number]["peer"]) => one && [one.name, one.endpoints, one.ca, one.client];
      const expected = peers.map(({ peer }) => ({
        ...peer,
        ...(typeof peer.ca === "object" && peer.ca.pem === shared.ca.pem && { ca: "importer", client: "importer" }),
      }));
      assert.deepEqual(
        written.map(({ peer }) => pick(peer)),
        expected.map((one) => [one.name, one.endpoints, one.ca, one.client]),
        `${version}, ${kvstoreMesh}`,
      );
      if (version !== "1.20") continue;
      assert.deepEqual(
        written.map(({ peer }) => peer?.hostAliases),
        peers.map(({ peer }) => peer.hostAliases),
      );
    }
  }
});

test("with a shared CA the values have no certificate and no key; with other CAs they have, with a warning", () => {
  for (const version of ["1.18", "1.20"]) {
    const keyless = render(targetOf(version), [peerOf("c2", 2, shared)]);
    assert.deepEqual([keyless.findings, keyless.files[0]?.isPrivate], [[], false]);
    assert.doesNotMatch(keyless.files[0]?.text ?? "", /tls|LS0t/);
    const { findings, files } = render(targetOf(version), peers.slice(0, 2));
    assert.deepEqual(
      findings.map(({ code, severity, key }) => [code, severity, key]),
      [["values-deprecated", "warning", "c3"]],
    );
    assert.equal(files[0]?.isPrivate, true);
  }
});

test("the text, in the form of a list and of a mapping", () => {
  const peer = peers[0] as SourcedPeer;
  const text = (version: string) => render(targetOf(version), [peer]).files[0]?.text;
  assert.equal(
    text("1.18"),
    `clustermesh:
  config:
    enabled: true
    clusters:
      - name: c2
        ips:
          - 10.0.0.2
        port: 32379
`,
  );
  assert.equal(
    text("1.19"),
    `clustermesh:
  config:
    enabled: true
    clusters:
      c2:
        ips:
          - 10.0.0.2
        port: 32379
`,
  );
});

test("existing peers are in the values too, with the host aliases of the workloads", () => {
  const agentsSecret = secretOf({ c9: configText("https://c9.mesh.cilium.io:32379", COMMON) });
  const hostAliases = [{ ip: "10.9.0.1", hostnames: ["c9.mesh.cilium.io"] }];
  const resolver = { kind: "DaemonSet" as const, name: "cilium", hostAliases, object: {} };
  const target = targetOf("1.18", { agentsSecret, resolvers: [resolver], aliases: aliasesOf([resolver]) });
  const { clusters } = valuesOf(render(target, peers.slice(0, 1)));
  assert.deepEqual(clusters, [
    { name: "c2", ips: ["10.0.0.2"], port: 32379 },
    { name: "c9", ips: ["10.9.0.1"], port: 32379 },
  ]);
});

test("another parent domain is that of the values, if all peers have it", () => {
  const at = (name: string, domain: string) => {
    const hostname = `${name}.${domain}`;
    return peerOf(name, Number(name.slice(1)), {
      ...shared,
      endpoints: [`https://${hostname}:2379`],
      hostAliases: [{ hostname, ips: ["10.0.0.2"] }],
    });
  };
  const same = valuesOf(render(targetOf("1.20"), [at("c2", "mesh.example"), at("c3", "mesh.example")]));
  assert.equal(same.domain, "mesh.example");
  assert.equal(valuesOf(render(targetOf("1.20"), [at("c2", "mesh.cilium.io")])).domain, undefined);
  const { files, findings } = render(targetOf("1.20"), [at("c2", "mesh.example"), at("c3", "mesh.cilium.io")]);
  assert.deepEqual(files, []);
  assert.deepEqual(
    findings.map(({ code, key }) => [code, key]),
    [["values-unsupported", "c3"]],
  );
});

test("what the chart cannot configure is refused", () => {
  const refused = (target: Target, given: SourcedPeer[]) => {
    const { files, findings } = render(target, given);
    assert.deepEqual(files, []);
    return findings.filter(({ severity }) => severity === "error").map(({ code, message }) => `${code}: ${message}`);
  };
  const several = peerOf("c2", 2, {
    ...shared,
    endpoints: ["https://10.0.0.2:1", "https://10.0.0.3:1"],
    hostAliases: [],
  });
  assert.deepEqual(refused(targetOf("1.20"), [several]), ["values-unsupported: the peer has several endpoints"]);
  const hostAliases = ["c2.mesh.cilium.io", "x.example"].map((hostname) => ({ hostname, ips: ["10.0.0.2"] }));
  assert.deepEqual(refused(targetOf("1.20"), [peerOf("c2", 2, { ...shared, hostAliases })]), [
    "values-unsupported: the chart writes one host alias for each peer, and the peer has those of c2.mesh.cilium.io and x.example",
  ]);
  const existing = (config: string) => refused(targetOf("1.20", { agentsSecret: secretOf({ c9: config }) }), []);
  assert.deepEqual(existing("endpoints: 3\n"), [
    "config-invalid: the config has a field endpoints that is not a list",
    "values-unsupported: the existing config is invalid",
  ]);
  const withEndpoints = (list: string) =>
    existing(configText("https://x:1", COMMON).replace(/(?<=endpoints:)\n.*/, list));
  assert.deepEqual(withEndpoints(" []"), ["values-unsupported: the peer has no endpoint"]);
  assert.deepEqual(withEndpoints(" [nonsense]"), ['values-unsupported: invalid endpoint "nonsense"']);
  const submariner = secretOf({ submariner: configText("https://127.0.0.1:12379", COMMON) });
  assert.deepEqual(refused(targetOf("1.20", { agentsSecret: submariner }), []), [
    "values-unsupported: the peer is node-local, and the chart would remove it",
  ]);
  assert.match(refused(targetOf("1.13"), [peerOf("c2")]).join(), /rendered for charts since 1\.14.* 1\.13\.3/);
});
