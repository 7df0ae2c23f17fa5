import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1PodSpec, V1Volume, V1VolumeMount } from "@kubernetes/client-node";
import {
  type FileSource,
  findFileSource,
  findMountedFile,
  findMountedFolder,
  listVolumeObjects,
  type PodTemplate,
} from "../../lib/cilium/volumes.ts";

const FOLDER = "/var/lib/cilium/clustermesh";

function podOf(volume: Omit<V1Volume, "name">, mountPath = FOLDER): { spec: V1PodSpec } {
  const spec: V1PodSpec = {
    containers: [
      { name: "sidecar", image: "x", volumeMounts: [{ name: "other", mountPath: "/elsewhere" }] },
      { name: "cilium-agent", image: "x", volumeMounts: [{ name: "mesh", mountPath }] },
    ],
    volumes: [
      { name: "other", configMap: { name: "unrelated", optional: true } },
      { name: "mesh", ...volume },
    ],
  };
  return { spec };
}

test("a Secret volume without items mounts all keys", () => {
  const pod = podOf({ secret: { secretName: "cilium-clustermesh", optional: true } });
  const folder = findMountedFolder(pod, "cilium-agent");
  assert.deepEqual(folder?.secrets, new Set(["cilium-clustermesh"]));
  assert.equal(folder?.files.size, 0);
  assert.deepEqual(
    folder,
    findMountedFolder(podOf({ ...pod.spec.volumes?.[1] }, "/var/lib/cilium/clustermesh/"), "cilium-agent"),
  );
});

test("projected sources map files to objects and keys; later sources override earlier ones", () => {
  const item = (key: string, path: string) => ({ key, path });
  const folder = findMountedFolder(
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

test("returns undefined for another container, another path, or no volume", () => {
  const volume = { secret: { secretName: "x" } };
  assert.equal(findMountedFolder(podOf(volume), "kvstoremesh"), undefined);
  assert.equal(findMountedFolder(podOf(volume), "sidecar"), undefined);
  assert.equal(findMountedFolder(podOf(volume, "/var/lib/cilium"), "cilium-agent"), undefined);
  assert.equal(findMountedFolder({ spec: undefined }, "cilium-agent"), undefined);
});

test("lists all mounted objects, and whether they are optional", () => {
  const pod = podOf({
    projected: { sources: [{ secret: { name: "s" } }, { configMap: { name: "c", optional: true } }, {}] },
  });
  assert.deepEqual(listVolumeObjects(pod.spec), [
    { kind: "ConfigMap", name: "unrelated", optional: true },
    { kind: "Secret", name: "s", optional: false },
    { kind: "ConfigMap", name: "c", optional: true },
  ]);
  assert.deepEqual(listVolumeObjects(podOf({ secret: { secretName: "x" } }).spec).at(-1), {
    kind: "Secret",
    name: "x",
    optional: false,
  });
  assert.deepEqual(listVolumeObjects(undefined), []);
});

/** A container with the chart's projected volume, and further mounts. */
function withMounts(
  volumes: V1Volume[],
  volumeMounts: V1VolumeMount[],
  annotations: Record<string, string> = {},
): PodTemplate {
  const items = ["tls.key", "tls.crt"].map((key) => ({ key, path: `common-etcd-client${key.slice(3)}` }));
  const sources = [{ secret: { name: "cilium-clustermesh" } }, { secret: { name: "remote-cert", items } }];
  return {
    annotations,
    spec: {
      containers: [{ name: "c", image: "x", volumeMounts: [{ name: "mesh", mountPath: FOLDER }, ...volumeMounts] }],
      volumes: [{ name: "mesh", projected: { sources } }, ...volumes],
    },
  };
}

const csi = (name: string, driver = "csi.cert-manager.io"): V1Volume => ({ name, csi: { driver, readOnly: true } });
const external = (volume: string, type: string): FileSource => ({ kind: "external", volume, type });

test("files mounted one by one hide those of the directory, for each volume type", () => {
  const below: FileSource = { kind: "Secret", object: "remote-cert", key: "tls.crt" };
  const cases: [V1Volume, Partial<V1VolumeMount>, FileSource][] = [
    [csi("v"), { subPath: "tls.crt" }, external("v", "CSI driver csi.cert-manager.io")],
    [csi("v", "secrets-store.csi.k8s.io"), { subPath: "a/b" }, external("v", "CSI driver secrets-store.csi.k8s.io")],
    // Without subPath, a directory is mounted.
    [csi("v"), {}, below],
    [{ name: "v", emptyDir: {} }, { subPath: "tls.crt" }, external("v", "emptyDir")],
    [{ name: "v", hostPath: { path: "/etc/tls.crt", type: "File" } }, {}, external("v", "hostPath")],
    [{ name: "v", ephemeral: {} }, { subPathExpr: "$(POD)/tls.crt" }, external("v", "ephemeral")],
    [{ name: "v", secret: { secretName: "s" } }, { subPath: "k" }, { kind: "Secret", object: "s", key: "k" }],
    [
      { name: "v", configMap: { name: "s", items: [{ key: "k", path: "a/b" }] } },
      { subPath: "a/b" },
      { kind: "ConfigMap", object: "s", key: "k" },
    ],
    [{ name: "v", secret: { secretName: "s", items: [{ key: "k", path: "a" }] } }, { subPath: "b" }, below],
  ];
  for (const [volume, mount, expected] of cases) {
    const template = withMounts([volume], [{ name: "v", mountPath: `${FOLDER}/common-etcd-client.crt`, ...mount }]);
    const folder = findMountedFolder(template, "c");
    assert.deepEqual(folder?.secrets, new Set(["cilium-clustermesh"]));
    assert.deepEqual(findFileSource(folder, "common-etcd-client.crt"), expected, JSON.stringify(volume));
    assert.deepEqual(findFileSource(folder, "common-etcd-client.key"), {
      kind: "Secret",
      object: "remote-cert",
      key: "tls.key",
    });
    assert.equal(findFileSource(folder, "common-etcd-client-ca.crt"), undefined);
  }
});

test("reports projected sources other than objects, and directories with unlisted files, as external", () => {
  const folder = findMountedFolder(
    podOf({
      projected: {
        sources: [
          { secret: { name: "cilium-clustermesh" } },
          { clusterTrustBundle: { name: "roots", path: "common-etcd-client-ca.crt" } },
          {
            podCertificate: {
              signerName: "example.com/mesh",
              keyType: "ECDSAP256",
              keyPath: "common-etcd-client.key",
              certificateChainPath: "common-etcd-client.crt",
            },
          },
        ],
      },
    }),
    "cilium-agent",
  );
  assert.deepEqual(findFileSource(folder, "common-etcd-client.crt"), external("mesh", "podCertificate"));
  assert.deepEqual(findFileSource(folder, "common-etcd-client.key"), external("mesh", "podCertificate"));
  assert.deepEqual(findFileSource(folder, "common-etcd-client-ca.crt"), external("mesh", "clusterTrustBundle"));
  assert.equal(folder?.unlisted, undefined);

  const spiffe = findMountedFolder(podOf({ csi: { driver: "csi.spiffe.io" } }), "cilium-agent");
  assert.deepEqual(findFileSource(spiffe, "common-etcd-client.crt"), external("mesh", "CSI driver csi.spiffe.io"));
  assert.deepEqual(spiffe?.unlisted, external("mesh", "CSI driver csi.spiffe.io"));
  const tokens = podOf({ downwardAPI: { items: [] } });
  assert.deepEqual(findMountedFolder(tokens, "cilium-agent"), { secrets: new Set(), files: new Map() });
});

test("finds the source of a file by its deepest mount, or an injected Vault agent", () => {
  const path = "/var/lib/etcd-secrets/tls.crt";
  const at = (volumes: V1Volume[], mounts: V1VolumeMount[], annotations = {}) =>
    findMountedFile(withMounts(volumes, mounts, annotations), "c", path);
  const secret: V1Volume = { name: "s", secret: { secretName: "server-cert" } };
  const below = { name: "s", mountPath: "/var/lib/etcd-secrets/" };
  assert.equal(at([], []), undefined);
  assert.deepEqual(at([secret], [below]), { kind: "Secret", object: "server-cert", key: "tls.crt" });
  assert.deepEqual(
    at([secret, csi("v")], [{ name: "v", mountPath: path, subPath: "tls.crt" }, below]),
    external("v", "CSI driver csi.cert-manager.io"),
  );
  assert.equal(at([secret, csi("v")], [below, { name: "v", mountPath: "/var/lib/etcd-secrets/tls" }])?.kind, "Secret");
  assert.deepEqual(at([csi("v")], [{ name: "v", mountPath: "/var/lib" }])?.kind, "external");
  const two: V1Volume = { name: "s", projected: { sources: [{ secret: { name: "a" } }, { secret: { name: "b" } }] } };
  assert.equal(at([two], [below]), undefined, "unknown which of two Secrets has the key");
  const listed: V1Volume = {
    name: "s",
    projected: {
      sources: [
        { secret: { name: "ca", items: [{ key: "ca.crt", path: "ca.crt" }] } },
        { secret: { name: "server-cert" } },
      ],
    },
  };
  assert.deepEqual(at([listed], [below]), { kind: "Secret", object: "server-cert", key: "tls.crt" });

  const inject = (more: Record<string, string>) =>
    Object.fromEntries(Object.entries(more).map(([key, value]) => [`vault.hashicorp.com/${key}`, value]));
  const injected = (more: Record<string, string>, mounts: V1VolumeMount[] = []) => at([secret], mounts, inject(more));
  const agent = external("vault-secrets", "Vault agent");
  assert.deepEqual(injected({ "agent-inject": "true", "secret-volume-path": "/var/lib/etcd-secrets" }), agent);
  assert.deepEqual(injected({ "agent-inject": "1", "secret-volume-path-tls": "/var/lib/etcd-secrets/" }), agent);
  assert.equal(injected({ "agent-inject": "false", "secret-volume-path": "/var/lib/etcd-secrets" }), undefined);
  assert.equal(injected({ "agent-inject": "true" }), undefined, "mounted at /vault/secrets");
  const elsewhere = { "agent-inject": "true", "secret-volume-path": "/var/lib/etcd-secrets" };
  assert.equal(injected({ ...elsewhere, "agent-inject-containers": "a,b" }), undefined);
  assert.deepEqual(injected({ ...elsewhere, "agent-inject-containers": "a,c" }), agent);
  assert.equal(injected(elsewhere, [below])?.kind, "Secret", "the pod's own mount has precedence");
});
