import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1PodSpec, V1Volume } from "@kubernetes/client-node";
import { mountedFolder, volumeObjects } from "../../lib/cluster/volumes.ts";

function podOf(volume: Omit<V1Volume, "name">, mountPath = "/var/lib/cilium/clustermesh"): V1PodSpec {
  return {
    containers: [
      { name: "sidecar", image: "x", volumeMounts: [{ name: "other", mountPath: "/elsewhere" }] },
      { name: "cilium-agent", image: "x", volumeMounts: [{ name: "mesh", mountPath }] },
    ],
    volumes: [
      { name: "other", configMap: { name: "unrelated", optional: true } },
      { name: "mesh", ...volume },
    ],
  };
}

test("a plain Secret is there whole", () => {
  const pod = podOf({ secret: { secretName: "cilium-clustermesh", optional: true } });
  const folder = mountedFolder(pod, "cilium-agent");
  assert.deepEqual(folder?.secrets, new Set(["cilium-clustermesh"]));
  assert.equal(folder?.files.size, 0);
  assert.deepEqual(
    folder,
    mountedFolder(podOf({ ...pod.volumes?.[1] }, "/var/lib/cilium/clustermesh/"), "cilium-agent"),
  );
});

test("projected sources name object and key of each file; a later one lies over an earlier", () => {
  const item = (key: string, path: string) => ({ key, path });
  const folder = mountedFolder(
    podOf({
      projected: {
        sources: [
          { secret: { name: "cilium-clustermesh", optional: true } },
          { secret: { name: "a", items: [item("tls.crt", "common-etcd-client.crt"), item("ca.crt", "ca.crt")] } },
          { configMap: { name: "roots", items: [item("pem", "ca.crt")] } },
          { serviceAccountToken: { path: "token" } },
        ],
      },
    }),
    "cilium-agent",
  );
  assert.deepEqual(folder?.secrets, new Set(["cilium-clustermesh"]));
  assert.deepEqual(
    folder?.files,
    new Map([
      ["common-etcd-client.crt", { kind: "Secret", object: "a", key: "tls.crt" }],
      ["ca.crt", { kind: "ConfigMap", object: "roots", key: "pem" }],
    ]),
  );
});

test("nothing is mounted: no such container, another path, no volume", () => {
  const volume = { secret: { secretName: "x" } };
  assert.equal(mountedFolder(podOf(volume), "kvstoremesh"), undefined);
  assert.equal(mountedFolder(podOf(volume), "sidecar"), undefined);
  assert.equal(mountedFolder(podOf(volume, "/var/lib/cilium"), "cilium-agent"), undefined);
  assert.equal(mountedFolder(undefined, "cilium-agent"), undefined);
});

test("all objects that volumes take, and whether a pod starts without them", () => {
  const pod = podOf({
    projected: { sources: [{ secret: { name: "s" } }, { configMap: { name: "c", optional: true } }, {}] },
  });
  assert.deepEqual(volumeObjects(pod), [
    { kind: "ConfigMap", name: "unrelated", optional: true },
    { kind: "Secret", name: "s", optional: false },
    { kind: "ConfigMap", name: "c", optional: true },
  ]);
  assert.deepEqual(volumeObjects(podOf({ secret: { secretName: "x" } })).at(-1), {
    kind: "Secret",
    name: "x",
    optional: false,
  });
  assert.deepEqual(volumeObjects(undefined), []);
});
