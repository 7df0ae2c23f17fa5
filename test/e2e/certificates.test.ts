/**
 * Certificates as Go judges them: a real etcd with Cilium's troubleshooter as its client, and our rules, which see only
 * the files, must reach the same verdict. Prints the table of docs/faults.md.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { checkPeer } from "../../lib/peer/checks/check-peer.ts";
import type { FindingCode } from "../../lib/peer/finding-codes.ts";
import type { Peer } from "../../lib/peer/peer.ts";
import { writePeerFile } from "../../lib/peer/secret.ts";
import { type CaOptions, type Issuer, issue, type LeafOptions, makeCa } from "../../lib/sandbox/pki.ts";
import { DAY, NOW } from "../support/material.ts";
import { type ClusterEtcd, startClusterEtcd, troubleshoot, type Verdict, withoutRealServers } from "../support/real.ts";

interface Row {
  /** What the peer's file holds. */
  what: string;
  /** PEM; default: the server's CA. */
  ca?: string;
  /** Default: one of the server's CA. */
  client?: { cert: string; key: string };
  /** The finding of our rules, and the error of Cilium and etcd; both undefined if the client connects. */
  code?: FindingCode;
  cilium?: RegExp;
}

const past = { notBefore: new Date(NOW.getTime() - 9 * DAY), notAfter: new Date(NOW.getTime() - DAY) };
const future = { notBefore: new Date(NOW.getTime() + DAY) };
const CA = makeCa({ cn: "Cilium CA" });
const SERVER = issue(CA, { cn: "server", usage: "server", ips: ["127.0.0.1"] });

/** The server's CA, reissued with the same name and key. */
const reissue = (options: Partial<CaOptions>) => makeCa({ cn: "Cilium CA", privateKey: CA.key, ...options }).cert;
const client = (issuer: Issuer, options: Partial<LeafOptions> = {}) =>
  issue(issuer, { cn: "remote", usage: "client", ...options });
const below = (options: Partial<CaOptions>) => makeCa({ cn: "intermediate", issuer: CA, ...options });

/** CAs of clients, which etcd trusts beside its own. */
const others: Issuer[] = [];
/** A file with such a CA beside what the server is trusted by, and a client certificate of it. */
const beside = (options: Partial<CaOptions>, trusted = CA.cert): Pick<Row, "ca" | "client"> => {
  const other = makeCa({ cn: `clients ${others.length}`, ...options });
  others.push(other);
  return { ca: trusted + other.cert, client: client(other) };
};

function backwards({ cert, key }: { cert: string; key: string }) {
  const [leaf = "", ...chain] = cert.split(/^(?=-----BEGIN)/m);
  return { cert: leaf + chain.reverse().join(""), key };
}

const NOT_VALID = /certificate has expired or is not yet valid/;
const CANNOT_SIGN = /parent certificate cannot sign this kind of certificate/;
const EXPIRED = /remote error: tls: expired certificate/;
const UNKNOWN = /remote error: tls: unknown certificate authority/;
const BAD = /remote error: tls: bad certificate/;

const rows: Row[] = [
  { what: "certificates as the chart makes them" },
  {
    what: "two intermediates, the upper one first",
    client: backwards(client(makeCa({ cn: "low", issuer: below({}) }))),
  },
  { what: "a reissued CA with another key identifier", ca: reissue({ keyId: "another" }) },
  { what: "a reissued CA, and the expired one", ca: reissue(past) + CA.cert },
  { what: "a CA of X.509 v1", ca: reissue({ flaw: "v1" }) },
  { what: "a CA for any purpose", ca: reissue({ usage: "any" }) },
  { what: "a CA for servers, and one for clients", ...beside({ usage: "client" }) },
  { what: "the server's own certificate, and a CA for clients", ...beside({ usage: "client" }, SERVER.cert) },
  { what: "a client certificate for any purpose", client: client(CA, { usage: "any" }) },
  { what: "a client certificate without a list of purposes", client: client(CA, { usage: "none" }) },
  { what: "an expired CA", ca: reissue(past), code: "ca-expired", cilium: NOT_VALID },
  { what: "a CA that is not valid yet", ca: reissue(future), code: "certificate-not-yet-valid", cilium: NOT_VALID },
  { what: "a CA with CA:FALSE", ca: reissue({ flaw: "no-ca" }), code: "ca-invalid", cilium: CANNOT_SIGN },
  { what: "a CA without keyCertSign", ca: reissue({ flaw: "no-cert-sign" }), code: "ca-invalid", cilium: CANNOT_SIGN },
  {
    what: "a CA for clients only",
    ca: reissue({ usage: "client" }),
    code: "certificate-usage",
    cilium: /incompatible key usage/,
  },
  { what: "clients have an expired CA", ...beside(past), code: "ca-expired", cilium: EXPIRED },
  {
    what: "clients have a CA that is not valid yet",
    ...beside(future),
    code: "certificate-not-yet-valid",
    cilium: EXPIRED,
  },
  {
    what: "clients have a CA with CA:FALSE",
    ...beside({ flaw: "no-ca" }),
    code: "certificate-not-signed",
    cilium: UNKNOWN,
  },
  {
    what: "clients have a CA without keyCertSign",
    ...beside({ flaw: "no-cert-sign" }),
    code: "certificate-not-signed",
    cilium: UNKNOWN,
  },
  {
    what: "clients have a CA for servers only",
    ...beside({ usage: "server" }),
    code: "certificate-usage",
    cilium: BAD,
  },
  { what: "an expired intermediate", client: client(below(past)), code: "certificate-expired", cilium: EXPIRED },
  {
    what: "an intermediate that is not valid yet",
    client: client(below(future)),
    code: "certificate-not-yet-valid",
    cilium: EXPIRED,
  },
  {
    what: "an intermediate with CA:FALSE",
    client: client(below({ flaw: "no-ca" })),
    code: "certificate-not-signed",
    cilium: UNKNOWN,
  },
  {
    what: "an intermediate of X.509 v1",
    client: client(below({ flaw: "v1" })),
    code: "certificate-not-signed",
    cilium: BAD,
  },
  {
    what: "an intermediate for servers only",
    client: client(below({ usage: "server" })),
    code: "certificate-usage",
    cilium: BAD,
  },
  {
    what: "a client certificate for servers only",
    client: client(CA, { usage: "server" }),
    code: "certificate-usage",
    cilium: BAD,
  },
  {
    what: "a client certificate without a name",
    client: client(CA, { cn: "" }),
    code: "no-common-name",
    cilium: /permission denied/,
  },
];

/** The troubleshooter checks its files one by one, and waits a second at each that does not connect. */
const AT_A_TIME = 5;

describe("certificates, by Cilium with a real etcd and by our rules", { skip: withoutRealServers() }, () => {
  let etcd: ClusterEtcd;
  let peers: Peer[];
  const verdictsByPeer = new Map<string, Verdict>();
  const table: string[] = [];

  before(async () => {
    const ca = { cert: [CA, ...others].map(({ cert }) => cert).join("") };
    etcd = await startClusterEtcd({ cluster: "c", pki: { ca, server: SERVER, admin: client(CA, { cn: "admin-c" }) } });
    peers = rows.map(({ ca: pem = CA.cert, client: own = client(CA) }, i) => ({
      name: `row${i}`,
      endpoints: [etcd.url],
      hostAliases: [],
      ca: { pem },
      client: own,
      facts: {},
    }));
    const files = peers.map((peer) => writePeerFile(peer).data ?? {});
    const folders = files.flatMap((_, i) => (i % AT_A_TIME === 0 ? [files.slice(i, i + AT_A_TIME)] : []));
    const verdicts = await Promise.all(folders.map((all) => troubleshoot({ data: Object.assign({}, ...all) })));
    for (const [name, verdict] of verdicts.flatMap((each) => [...each])) verdictsByPeer.set(name, verdict);
  });
  after(async () => {
    console.log(["| certificates | Cilium's troubleshooter | inspect |", "| --- | --- | --- |", ...table].join("\n"));
    await etcd?.stop();
  });

  for (const [i, { what, code, cilium }] of rows.entries()) {
    test(what, () => {
      const peer = peers[i] as Peer;
      const findings = checkPeer({ peer, source: "row" }, NOW);
      assert.deepEqual(
        findings.map((one) => one.code),
        code === undefined ? [] : [code],
      );
      const theirs = verdictsByPeer.get(peer.name);
      assert.equal(theirs?.connects, code === undefined, theirs?.text);
      const [fault = "connects"] = theirs?.faults ?? [];
      if (cilium) assert.match(fault, cilium);
      const cell = (text: string) => text.replaceAll("|", "\\|").slice(0, 160);
      const ours = findings.map(({ message }) => `\`${code}\`: ${cell(message)}`);
      table.push(`| ${what} | ${cell(fault)} | ${ours.join() || "would connect"} |`);
    });
  }
});
