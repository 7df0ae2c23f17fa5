import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { V1PodSpec } from "@kubernetes/client-node";
import type { Target } from "../../lib/import/plan/target.ts";
import { readTarget } from "../../lib/import/read-target.ts";
import type { ClusterDescription } from "../../lib/sandbox/description.ts";
import { certificateUser } from "../../lib/x509/names.ts";
import { normalizeCa } from "../../lib/x509/pem.ts";
import { describeCluster, startCluster, type TestCluster } from "../support/cluster.ts";

const REMOTE = "clustermesh-apiserver-remote-cert";

async function start(t: TestContext, overrides: Partial<ClusterDescription>) {
  const cluster = await startCluster(t, describeCluster(overrides));
  return { cluster, read: (): Promise<Target> => readTarget(cluster.api, "own").then(({ target }) => target) };
}

/** Changes the pod spec of the workload that reaches peers. */
function changePods(cluster: TestCluster, kvstoremesh: boolean, by: (spec: V1PodSpec) => void): void {
  const [kind, name] = kvstoremesh ? ["Deployment", "clustermesh-apiserver"] : ["DaemonSet", "cilium"];
  cluster.change(kind ?? "", name ?? "", ({ spec }) => by(spec.template.spec));
}

test("the cluster's own certificate is read from the Secret that its workload mounts", async (t) => {
  for (const version of ["1.14", "1.18", "1.20"]) {
    const { cluster, read } = await start(t, { version });
    const { common, clientCertificate, localMounted } = await read();
    assert.deepEqual(common, { ca: cluster.pki.ca.cert });
    assert.equal(certificateUser(clientCertificate ?? ""), "remote");
    assert.equal(localMounted, version !== "1.14");
    cluster.remove("Secret", REMOTE);
    assert.equal((await read()).common, undefined, "optional in the volume, so the file is not there");
  }
  const { read } = await start(t, { version: "1.13" });
  assert.equal((await read()).common, undefined);
});

test("the cluster's own certificate may be in a CSI volume of the workload that reaches the peers", async (t) => {
  for (const version of ["1.13", "1.14", "1.18", "1.20"]) {
    for (const kvstoremesh of version === "1.13" ? [false] : [false, true]) {
      const { cluster, read } = await start(t, { version, kvstoremesh, csiDriver: "csi.example" });
      const { common, clientCertificate, localMounted } = await read();
      const external = { kind: "external", volume: "common-etcd-client", type: "CSI driver csi.example" };
      assert.deepEqual(common, { ca: undefined, external, listed: true });
      assert.equal(clientCertificate, undefined);
      assert.equal(localMounted, ["1.18", "1.20"].includes(version));

      // Placeholders, over which the files of the volume lie.
      const { cert, key } = cluster.server.clientCertificate("remote");
      const data = Object.entries({ "tls.crt": cert, "tls.key": key, "ca.crt": cert });
      cluster.server.store.put({
        apiVersion: "v1",
        kind: "Secret",
        metadata: { name: REMOTE, namespace: "kube-system" },
        data: Object.fromEntries(data.map(([name, text]) => [name, Buffer.from(text).toString("base64")])),
      });
      const again = await read();
      assert.deepEqual([again.common, again.clientCertificate], [common, undefined]);
    }
  }
});

test("a volume may contain some of the files or not list them", async (t) => {
  for (const kvstoremesh of [false, true]) {
    const container = kvstoremesh ? "kvstoremesh" : "cilium-agent";
    const mountsOf = (spec: V1PodSpec) => spec.containers.find(({ name }) => name === container)?.volumeMounts ?? [];
    const { cluster, read } = await start(t, { version: "1.20", kvstoremesh, csiDriver: "csi.example" });
    changePods(cluster, kvstoremesh, (spec) => {
      const mounts = mountsOf(spec);
      mounts.splice(
        mounts.findIndex(({ mountPath }) => mountPath.endsWith("/common-etcd-client.key")),
        1,
      );
      const { volumes = [] } = spec;
      for (const { projected } of volumes) {
        if (projected) projected.sources = (projected.sources ?? []).filter(({ secret }) => !secret?.items);
      }
    });
    assert.equal((await read()).common, undefined, "a config in the common form names a file that is not there");
    changePods(cluster, kvstoremesh, (spec) => {
      const folder = mountsOf(spec).find(({ mountPath }) => mountPath === "/var/lib/cilium/clustermesh");
      spec.volumes = (spec.volumes ?? []).map((volume) =>
        volume.name === folder?.name ? { name: volume.name, emptyDir: {} } : volume,
      );
      for (const one of mountsOf(spec)) if (one.subPath) one.mountPath = `/elsewhere/${one.subPath}`;
    });
    const { common } = await read();
    assert.deepEqual([common?.external?.type, common?.listed], ["emptyDir", false]);
  }
});

test("the CA beside a volume is read if it is in an object", async (t) => {
  const caBundle = { kind: "ConfigMap", name: "roots", key: "ca.pem" } as const;
  for (const kvstoremesh of [false, true]) {
    const { cluster, read } = await start(t, { version: "1.20", kvstoremesh, csiDriver: "csi.example", caBundle });
    const { common } = await read();
    assert.equal(normalizeCa(common?.ca ?? ""), normalizeCa(cluster.pki.ca.cert));
    assert.equal(common?.external?.type, "CSI driver csi.example");
  }
});
