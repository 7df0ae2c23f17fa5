/** Arbitraries of property tests: names, addresses, peers, and existing Secrets. */
import type { V1Secret } from "@kubernetes/client-node";
import fc from "fast-check";
import { canonicalAliases, canonicalEndpoints } from "../../lib/peer/etcd-config.ts";
import { isNodeLocal } from "../../lib/peer/node-local.ts";
import { type ClusterFacts, isClusterName, type Peer } from "../../lib/peer/peer.ts";
import { normalizeCa } from "../../lib/x509/pem.ts";
import { caOf, clientOf, intermediateOf } from "./material.ts";
import { COMMON, configText, LOCAL, secretOf } from "./targets.ts";

// Limits the time for shrinking a counterexample.
fc.configureGlobal({ interruptAfterTimeLimit: 10_000 });

export const clusterName = fc.stringMatching(/^[a-z0-9][-a-z0-9]{0,30}[a-z0-9]$/).filter(isClusterName);

export const hostname = fc.stringMatching(/^[a-zA-Z][a-z0-9-]{0,8}(\.[a-z][a-z0-9]{0,8}){0,3}$/);

export const ipAddress = fc.oneof(
  fc.ipV4(),
  // In canonical form, as resolvers write addresses; some are numbers in YAML 1.1.
  fc.ipV6().map((ip) => new URL(`http://[${ip}]`).hostname.slice(1, -1)),
  fc.constantFrom("1:2:3:4:5:6:7:8", "::", "::1", "1::", "190:20::30"),
);

const port = fc.integer({ min: 1, max: 65535 });

const urlOf = (host: string, at: number) => `https://${host.includes(":") ? `[${host}]` : host}:${at}`;

/** One hostname, or up to three IP addresses; none is node-local. */
const endpoints = anyEndpoints().filter((urls) => !isNodeLocal(urls));

/** A node-local endpoint. */
export const nodeLocalUrl = fc
  .tuple(
    fc.constantFrom("127.0.0.1", "127.8.9.10", "127.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "LOCALHOST."),
    port,
  )
  .map(([host, at]) => `https://${host}:${at}`);

function anyEndpoints(): fc.Arbitrary<string[]> {
  return fc.oneof(
    { weight: 4, arbitrary: fc.tuple(hostname, port).map(([host, at]) => [urlOf(host, at)]) },
    {
      weight: 1,
      arbitrary: fc.array(
        fc.tuple(ipAddress, port).map(([ip, at]) => urlOf(ip, at)),
        { minLength: 1, maxLength: 3 },
      ),
    },
  );
}

const hostAliases = fc.uniqueArray(
  fc.record({ hostname, ips: fc.uniqueArray(ipAddress, { minLength: 1, maxLength: 3 }) }, { noNullPrototype: true }),
  { maxLength: 3, selector: (alias) => alias.hostname },
);

const authority = fc.constantFrom("a", "b", "c");

/** CAs with a matching client certificate, from a small fixed set. */
const tls: fc.Arbitrary<Pick<Peer, "ca" | "client">> = fc.oneof(
  fc.tuple(authority, fc.constantFrom("remote", "remote-x"), fc.nat(1)).map(([name, cn, serial]) => ({
    ca: { pem: caOf(name).cert },
    client: clientOf(caOf(name), cn, serial),
  })),
  authority.map((name) => ({
    ca: { pem: normalizeCa(caOf("a").cert + caOf(name).cert) },
    client: clientOf(intermediateOf(name)),
  })),
  authority.map((name) => ({ ca: "importer" as const, client: clientOf(caOf(name)) })),
  authority.map((name) => ({ ca: "system" as const, client: clientOf(caOf(name)) })),
  fc.constantFrom({ ca: "importer" as const, client: "importer" as const }),
);

const word = fc.stringMatching(/^[a-z0-9.:/-]{1,12}$/);

const facts: fc.Arbitrary<ClusterFacts> = fc.record(
  {
    id: fc.integer({ min: 1, max: 511 }),
    maxConnectedClusters: fc.constantFrom(255, 511),
    version: fc.constantFrom("1.10", "1.18.5", "1.20.0-rc.1"),
    namespace: word,
    kvstoreMesh: fc.boolean(),
    authMode: fc.constantFrom("legacy", "migration", "cluster"),
    podCidrs: fc.array(word, { maxLength: 3 }),
    routingMode: fc.constantFrom("tunnel", "native"),
    tunnelProtocol: fc.constantFrom("vxlan", "geneve"),
    encryption: fc.constantFrom("none", "wireguard", "ipsec"),
    kubeProxyReplacement: fc.boolean(),
    ipFamilies: fc.subarray(["IPv4", "IPv6"] as ("IPv4" | "IPv6")[]),
    nodePort: port,
    serverNames: fc.array(word, { maxLength: 3 }),
    ca: fc.constantFrom(caOf("a").cert, caOf("a").cert + caOf("b").cert),
    endpointGiven: fc.constant(true as const),
  },
  { requiredKeys: [], noNullPrototype: true },
);

/** A peer as read from a file: endpoints, addresses and CA are in canonical order. */
export const peer: fc.Arbitrary<Peer> = fc
  .record({ name: clusterName, endpoints, hostAliases, tls, facts }, { noNullPrototype: true })
  .map(({ name, tls, facts, ...config }) => ({
    name,
    endpoints: canonicalEndpoints(config.endpoints),
    hostAliases: canonicalAliases(config.hostAliases),
    ...tls,
    ca: typeof tls.ca === "object" ? { pem: normalizeCa(tls.ca.pem) } : tls.ca,
    facts: { name, ...facts },
  }));

/** Peers with distinct names, a subset of `names`. */
export const peers = (names: readonly string[]): fc.Arbitrary<Peer[]> =>
  fc
    .tuple(
      fc.subarray([...names], { minLength: 1 }),
      fc.array(peer, { minLength: names.length, maxLength: names.length }),
    )
    .map(([chosen, generated]) => chosen.map((name, i) => rename(generated[i] as Peer, name)));

function rename(one: Peer, name: string): Peer {
  return { ...one, name, facts: { ...one.facts, name } };
}

const arbitraryBytes = fc.oneof(
  fc.uint8Array({ maxLength: 24 }).map((bytes) => Buffer.from(bytes)),
  fc.string().map((text) => Buffer.from(text)),
);

/** Keys of files and configs, as the charts, older scripts and other tools write them. */
export function keys(names: readonly string[]): fc.Arbitrary<string> {
  return fc.constantFrom(
    ...names.flatMap((name) => [`${name}-ca.crt`, `${name}.crt`, `${name}.key`]),
    ...names.flatMap((name) => [`${name}.etcd-client-ca.crt`, `${name}.etcd-client.crt`, `${name}.etcd-client.key`]),
    ...names.flatMap((name) => [`${name}.etcd-client.2.crt`, `${name}.etcd-client.own.key`]),
    ...["tls.crt", "README", "shared-ca.crt", "shared.crt", "shared.key", ...COMMON],
    ...["submariner.ca", "Submariner Cert", "submariner_key.pem"],
  );
}

/**
 * Content of an existing Secret: configs of these names in any layout and state, whose files may be shared, missing or
 * invalid, and unreferenced files.
 */
export function existingFiles(names: readonly string[]): fc.Arbitrary<Record<string, Buffer>> {
  const key = keys(names);
  const validPem = fc.constantFrom(
    ...["a", "b"].flatMap((name) => [caOf(name).cert, clientOf(caOf(name)).cert, clientOf(caOf(name)).key]),
  );
  const content = fc.oneof({ weight: 3, arbitrary: validPem.map((text) => Buffer.from(text)) }, arbitraryBytes);
  const config = fc
    .record({
      endpoint: fc.oneof(
        { weight: 5, arbitrary: endpoints.map(([url = ""]) => url) },
        { weight: 1, arbitrary: nodeLocalUrl },
      ),
      files: fc.oneof(fc.tuple(fc.option(key, { nil: undefined }), key, key), fc.constantFrom(COMMON, LOCAL)),
      otherFields: fc.constantFrom(
        "",
        "",
        "# a comment\n",
        "dial-timeout: 5s\n",
        "endpoints: []\n",
        "cilium-host-aliases:\n- hostname: a.b\n  ips: [10.9.9.9]\n",
      ),
    })
    .map(({ endpoint, files, otherFields }) => Buffer.from(configText(endpoint, files, otherFields)));
  const configName = fc.constantFrom(...names, "other", "submariner", "Not.A.Name", `${names[0]}.etcd-client.crt`);
  return fc
    .tuple(fc.dictionary(key, content, { maxKeys: 8 }), fc.dictionary(configName, config, { maxKeys: 4 }))
    .map(([files, configs]) => ({ ...files, ...configs }));
}

/** An existing Secret with {@link existingFiles}, or undefined. */
export function existingSecret(
  names: readonly string[],
  name: Parameters<typeof secretOf>[2],
): fc.Arbitrary<V1Secret | undefined> {
  const annotations = fc.dictionary(
    fc.constantFrom("a.example/b", "clustermesh-secrets/peers", "b.example/release-name"),
    fc.constantFrom("", "x", '{"other":{"id":9,"max":255}}', '{"c2":{"id":"2"},"c3":7}', "[1", "null"),
  );
  return fc.option(
    fc.tuple(existingFiles(names), annotations).map(([files, annotated]) => secretOf(files, annotated, name)),
    { nil: undefined },
  );
}
