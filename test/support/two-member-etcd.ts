/** An etcd with two members, which loses quorum when one of them stops. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ClusterPki } from "../../lib/sandbox/chart.ts";
import { flags } from "./real-apiservers.ts";
import { realAssets } from "./real-assets.ts";
import { freePort, removeFolder, run, start, temporaryFolder, waitFor } from "./real-process.ts";

/** Starts two members on `address`. Returns the port of the first one; `stopOne` stops the second. */
export async function startTwoMemberEtcd(pki: ClusterPki, address: string) {
  const assets = realAssets();
  const folder = temporaryFolder("two-members");
  const file = (name: string, content: string) => {
    const path = join(folder, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  const tls = {
    "trusted-ca-file": file("ca.crt", pki.ca.cert),
    "cert-file": file("server.crt", pki.server.cert),
    "key-file": file("server.key", pki.server.key),
  };
  const members = await Promise.all(
    ["a", "b"].map(async (name) => ({
      name,
      port: await freePort(address, "node"),
      local: await freePort(),
      peer: `http://127.0.0.1:${await freePort()}`,
    })),
  );
  const cluster = members.map(({ name, peer }) => `${name}=${peer}`).join(",");
  const running = members.map(({ name, port, local, peer }) =>
    start(
      `etcd ${name}`,
      assets.etcd,
      flags({
        name,
        "data-dir": join(folder, name),
        "client-cert-auth": "true",
        ...tls,
        "listen-client-urls": `https://${address}:${port},https://127.0.0.1:${local}`,
        "advertise-client-urls": `https://127.0.0.1:${local}`,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": cluster,
        "log-level": "warn",
        "unsafe-no-fsync": "true",
      }),
      { folder },
    ),
  );
  const stop = async () => {
    await Promise.all(running.map((one) => one.stop()));
    removeFolder(folder);
  };
  const [first] = members;
  const client = flags({
    endpoints: `https://127.0.0.1:${first?.local}`,
    cacert: tls["trusted-ca-file"],
    cert: file("admin.crt", pki.admin.cert),
    key: file("admin.key", pki.admin.key),
  });
  try {
    await waitFor(
      "two-member etcd",
      async () => (await run(assets.etcdctl, [...client, "get", "x"], { folder })).code === 0,
      { running },
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return { port: first?.port ?? 0, stop, stopOne: async () => void (await running[1]?.stop()) };
}
