/**
 * `verify` against real etcds, fed by Cilium's own programs: each fault made for real, with Cilium's troubleshooter
 * asked about the same files in the same run. Prints the table of docs/faults.md.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, connect as netConnect, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { createServer as createTlsServer } from "node:tls";
import type { FindingCode } from "../../lib/peer/finding-codes.ts";
import type { ClientCertificate, Peer } from "../../lib/peer/peer.ts";
import { readPeerFile, writePeerFile } from "../../lib/peer/secret.ts";
import { issue, makeCa } from "../../lib/sandbox/pki.ts";
import { type Member, type Mesh, startMesh } from "../support/mesh.ts";
import { run } from "../support/programs.ts";
import {
  type ClusterEtcd,
  freeAddress,
  freePort,
  startClusterEtcd,
  troubleshoot,
  waitFor,
  withoutRealServers,
} from "../support/real.ts";
import { startTwoMemberEtcd } from "../support/two-member-etcd.ts";

interface Row {
  fault: string;
  /** The finding that verify has to make; none where all is well. */
  code?: FindingCode;
  /** The error of Cilium's troubleshooter; undefined if it cannot detect the fault. */
  cilium?: RegExp;
  make(): Promise<Peer> | Peer;
}

const NEVER = new Date("2020-01-02T00:00:00Z");

describe("verify, and Cilium's troubleshooter on the same files", { skip: withoutRealServers() }, () => {
  let mesh: Mesh;
  let folder: string;
  let good: Peer;
  let served: Member;
  let other: Member;
  const stops: (() => unknown)[] = [];

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "verify-"));
    mesh = await startMesh({
      clusters: 2,
      version: "1.20",
      kvstoremesh: true,
      ca: "shared",
      authMode: "migration",
      service: "NodePort",
      deadAddress: false,
      key: "ec",
    });
    [other, served] = mesh.members as [Member, Member];
    const [, file = ""] = await mesh.extract();
    good = readPeerFile(JSON.parse(readFileSync(file, "utf8")), file).peers[0] as Peer;
    assert.equal((await mesh.import([file])).code, 0);
  });
  after(async () => {
    for (const stop of stops.reverse()) await stop();
    await mesh?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const at = (ips: string[], port?: number): Partial<Peer> => {
    const name = "cluster2.mesh.cilium.io";
    const old = Number(new URL(good.endpoints[0] ?? "").port);
    return { endpoints: [`https://${name}:${port ?? old}`], hostAliases: [{ hostname: name, ips }] };
  };
  const withClient = (client: ClientCertificate): Peer => ({ ...good, client });
  /** Another etcd for cluster2, with something wrong; with no heartbeat but what a test puts there. */
  const etcdWith = async (options: { dns?: string[] }): Promise<{ etcd: ClusterEtcd; peer: Peer }> => {
    const { ca, admin } = served.pki;
    const names = { dns: options.dns ?? ["*.mesh.cilium.io"], ips: ["127.0.0.1", "::1"] };
    const server = issue(ca, { cn: "server", usage: "server", key: "ec", ...names });
    const etcd = await startClusterEtcd({
      cluster: "cluster2",
      pki: { ca, admin, server },
      listen: [{ address: served.address }],
    });
    stops.push(etcd.stop);
    const [listener] = etcd.listeners;
    return { etcd, peer: { ...good, ...at([served.address], listener?.port) } };
  };
  const listening = async (server: Server): Promise<Peer> => {
    const port = await freePort(served.address, "node");
    server.listen(port, served.address);
    await once(server, "listening");
    const sockets = new Set<Socket>();
    server.on("connection", (socket) => sockets.add(socket.on("error", () => {})));
    stops.push(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return { ...good, ...at([served.address], port) };
  };
  const own = (cn: string, dates = {}) => issue(served.pki.ca, { cn, usage: "client", key: "ec", ...dates });

  const rows: Row[] = [
    { fault: "none", make: () => good },
    {
      fault: "a firewall that drops packets",
      code: "connection-timeout",
      cilium: /i\/o timeout|deadline exceeded/,
      make: async () => ({ ...good, ...(await dropping()) }),
    },
    {
      fault: "a port that refuses connections",
      code: "connection-refused",
      cilium: /connection refused/,
      make: async () => ({ ...good, ...at([await freeAddress()]) }),
    },
    {
      fault: "an unknown host name",
      code: "name-not-resolved",
      cilium: /no such host|lookup/,
      make: () => ({ ...good, endpoints: ["https://nowhere.invalid:32379"], hostAliases: [] }),
    },
    {
      fault: "another CA in the file",
      code: "server-ca-unknown",
      cilium: /unknown authority/,
      make: () => ({ ...good, ca: { pem: makeCa({ cn: "Cilium CA", key: "ec" }).cert } }),
    },
    {
      fault: "an expired server certificate",
      code: "server-certificate-expired",
      cilium: /expired/,
      make: () => {
        const names = { dns: ["*.mesh.cilium.io"], notBefore: new Date(0), notAfter: NEVER };
        const { cert, key } = issue(served.pki.ca, { cn: "server", usage: "server", key: "ec", ...names });
        return listening(createTlsServer({ cert, key, ALPNProtocols: ["h2"] }));
      },
    },
    {
      fault: "a host name that the certificate does not cover",
      code: "endpoint-not-covered",
      cilium: /certificate is valid for/,
      make: async () => (await etcdWith({ dns: ["other.example"] })).peer,
    },
    {
      fault: "the node's address in the URL, as the old scripts write it",
      code: "endpoint-not-covered",
      cilium: /certificate is valid for 127\.0\.0\.1, ::1, not/,
      // Of this machine, but no loopback address: a peer at one of those would be skipped.
      make: () => {
        const { port } = new URL(served.etcd.url);
        return { ...good, endpoints: [`https://0.0.0.0:${port}`], hostAliases: [], facts: {} };
      },
    },
    {
      fault: "an expired client certificate",
      code: "client-refused",
      cilium: /expired|bad certificate/,
      make: () => withClient(own("remote", { notBefore: new Date(0), notAfter: NEVER })),
    },
    {
      fault: "a client certificate of a CA unknown to etcd",
      code: "client-refused",
      cilium: /not signed by any acceptable CA|unknown certificate authority/,
      make: () => withClient(issue(makeCa({ cn: "x", key: "ec" }), { cn: "remote", usage: "client", key: "ec" })),
    },
    {
      fault: "a client certificate of a user unknown to etcd",
      code: "user-unknown",
      cilium: /user name not found|permission denied|authentication|Etcd/i,
      make: () => withClient(own("remote-nobody")),
    },
    {
      fault: "a port with another protocol",
      code: "not-tls",
      cilium: /first record does not look like a TLS handshake/,
      make: () => listening(createServer((socket) => socket.end("220 mail.example ESMTP\r\n"))),
    },
    {
      fault: "a port that closes at once",
      code: "not-tls",
      cilium: /EOF|reset by peer/,
      make: () => listening(createServer((socket) => socket.destroy())),
    },
    {
      fault: "a port that never responds",
      code: "not-tls",
      cilium: /deadline exceeded|timeout/,
      make: () => listening(createServer(() => {})),
    },
    {
      fault: "an etcd without quorum",
      code: "etcd-unavailable",
      cilium: /deadline exceeded|no leader|Failed to establish/i,
      make: async () => {
        const etcd = await startTwoMemberEtcd(served.pki, served.address);
        stops.push(etcd.stop);
        await etcd.stopOne();
        return { ...good, ...at([served.address], etcd.port) };
      },
    },
    {
      fault: "no heartbeat",
      code: "heartbeat-missing",
      make: async () => (await etcdWith({})).peer,
    },
    {
      fault: "a heartbeat from yesterday",
      code: "heartbeat-stale",
      make: async () => {
        const { etcd, peer } = await etcdWith({});
        await etcd.put("cilium/.heartbeat", new Date(Date.now() - 86_400_000).toISOString());
        return peer;
      },
    },
    {
      fault: "a cluster without a cluster config",
      code: "cluster-config-missing",
      make: async () => {
        const { etcd, peer } = await etcdWith({});
        await etcd.put("cilium/.heartbeat", new Date().toISOString());
        return peer;
      },
    },
    {
      fault: "a different cluster behind the address",
      code: "other-cluster",
      make: () => ({ ...good, ...at([other.address], other.port) }),
    },
    {
      fault: "another cluster id than in the file",
      code: "id-differs",
      make: () => ({ ...good, facts: { ...good.facts, id: 77 } }),
    },
    {
      fault: "one of two addresses unreachable",
      code: "address-unreachable",
      make: async () => ({ ...good, ...at([await freeAddress(), served.address]) }),
    },
  ];

  /** A listener with a full backlog: the kernel drops further connections, as a firewall does. */
  async function dropping(): Promise<Partial<Peer>> {
    const port = await freePort(served.address, "node");
    const listen = `require("node:net").createServer().listen({port:${port},host:"${served.address}",backlog:1},()=>console.log("up"))`;
    const child = spawn(process.execPath, ["-e", listen], { stdio: ["ignore", "pipe", "ignore"] });
    stops.push(() => child.kill("SIGKILL"));
    await once(child.stdout, "data");
    child.kill("SIGSTOP");
    const fill = Array.from({ length: 8 }, () => netConnect(port, served.address).on("error", () => {}));
    stops.push(() => fill.map((socket) => socket.destroy()));
    await new Promise((resolve) => setTimeout(resolve, 300));
    return at([served.address], port);
  }

  const table: string[] = [];
  after(() => {
    console.log(["| fault | Cilium's troubleshooter | verify |", "| --- | --- | --- |", ...table].join("\n"));
  });

  test("Cilium's own heartbeat is there within a minute or so", async () => {
    await waitFor(
      "the heartbeats",
      async () => {
        for (const { etcd } of mesh.members) if (!(await etcd.get("cilium/.heartbeat"))) throw new Error("not yet");
        return true;
      },
      { timeoutMs: 90_000 },
    );
  });

  for (const { fault, code, cilium, make } of rows) {
    test(fault, async () => {
      const secret = writePeerFile(await make());
      const file = join(folder, "peer.json");
      writeFileSync(file, JSON.stringify(secret));
      const [verified, verdicts] = await Promise.all([
        run("clustermesh-secrets", ["verify", file, "-o", "json", "--step-timeout", "3s"]),
        troubleshoot({ data: secret.data ?? {} }),
      ]);
      const theirs = verdicts.get("cluster2");
      assert.ok(theirs, "the troubleshooter takes the file for a config");
      const { peers } = JSON.parse(verified.stdout);
      const findings: { code: string; severity: string; message: string }[] = peers[0].findings;
      if (code === undefined) assert.deepEqual(findings, []);
      else assert.ok(findings.map((one) => one.code).includes(code), `${JSON.stringify(findings)} ${verified.stderr}`);
      const isError = findings.some(({ severity }) => severity === "error");
      assert.equal(verified.code, isError ? 3 : 0, verified.stderr);
      if (cilium) {
        assert.equal(theirs.connects, false, theirs.text);
        assert.match(theirs.faults.join("; "), cilium, theirs.text);
      } else assert.equal(theirs.connects, true, theirs.text);
      const found = findings.find((one) => one.code === code);
      const cell = (text = "connects") => text.replaceAll("|", "\\|").replaceAll(folder, "…").slice(0, 160);
      table.push(
        `| ${fault} | ${cell(theirs.faults[0])} | ${found ? `\`${code}\`: ${cell(found.message)}` : "connects"} |`,
      );
    });
  }
});
