/** Changes of clusters that a mesh has to follow, as other tools and people make them, and how many writes each justifies. */
import { clusterObjects, clusterPki } from "../../lib/sandbox/chart.ts";
import type { KubernetesObject } from "../../lib/sandbox/object.ts";
import type { FaultyCluster, FaultyMesh } from "./faulty-mesh.ts";
import type { Random } from "./random.ts";

const NAMESPACE = "kube-system";

/** The Secret with the certificates of peers, by the installation of the cluster. */
function peersSecretOf({ description }: FaultyCluster): string {
  return description.kvstoremesh === false ? "cilium-clustermesh" : "cilium-kvstoremesh";
}

/** Makes changes, and counts the writes that they justify. */
export class MeshChanges {
  /** Changes by kind. */
  readonly made = new Map<string, number>();
  readonly #mesh: FaultyMesh;
  readonly #random: Random;
  /** By cluster and object. */
  readonly #justified = new Map<string, number>();
  #last = 0;

  constructor(mesh: FaultyMesh, random: Random) {
    this.#mesh = mesh;
    this.#random = random;
  }

  /** How many writes of an object, such as `secrets/cilium-kvstoremesh`, the changes justify at most. */
  justified(cluster: FaultyCluster, object: string): number {
    return this.#justified.get(`${cluster.name} ${object}`) ?? 0;
  }

  /** Makes one of the changes at random; returns a description. */
  makeOne(): string {
    const make = this.#random.pick([
      () => this.renewCertificates(),
      () => this.changePort(),
      () => this.replaceNode(),
      () => this.editPeer(),
      () => this.resetUsers(),
    ]);
    return make();
  }

  /** Issues the certificates of a cluster again, by the same CA, as the chart's CronJob does. */
  renewCertificates(cluster = this.#pickCluster()): string {
    const { description, pki, api } = cluster;
    Object.assign(pki, clusterPki(description, { ca: pki.ca, key: "ec" }));
    for (const object of clusterObjects(description, pki)) {
      if (object.kind !== "Secret" || !/-cert$/.test(object.metadata.name)) continue;
      api.store.put(withIdentity(object, api.store.read("Secret", NAMESPACE, object.metadata.name)));
    }
    return this.#note("renewed certificates", cluster, "importers");
  }

  /** Gives the Service of a cluster another node port. */
  changePort(cluster = this.#pickCluster()): string {
    this.#last++;
    this.#modify(cluster, "Service", "clustermesh-apiserver", ({ spec }) => {
      spec.ports[0].nodePort = 30_000 + (this.#last % 2_000);
    });
    return this.#note("changed port", cluster, "importers");
  }

  /** Replaces the node of a cluster by one with another name and address. */
  replaceNode(cluster = this.#pickCluster()): string {
    const { api, description } = cluster;
    const [old] = api.store.all("Node");
    if (!old) throw new Error(`${cluster.name} has no node`);
    this.#last++;
    const { resourceVersion: _, uid: __, ...metadata } = old.metadata;
    const address = `172.19.${description.id}.${1 + (this.#last % 250)}`;
    const addresses = [{ type: "InternalIP", address }];
    const name = `${cluster.name}-node${this.#last + 1}`;
    api.store.put({ ...old, metadata: { ...metadata, name }, status: { ...old.status, addresses } });
    api.store.remove("Node", undefined, old.metadata.name);
    return this.#note("replaced node", cluster, "importers");
  }

  /** Breaks the config of a peer in a cluster, as a person with an editor does. */
  editPeer(cluster = this.#pickCluster()): string {
    const secret = peersSecretOf(cluster);
    const peer = this.#random.pick(this.#mesh.clusters.filter((one) => one !== cluster)).name;
    this.#modify(cluster, "Secret", secret, ({ data }) => {
      if (data[peer] === undefined) return;
      const text = Buffer.from(data[peer], "base64").toString();
      data[peer] = Buffer.from(text.replace(/:\d+$/m, ":1")).toString("base64");
    });
    return this.#note(`edited a peer`, cluster, `secrets/${secret}`);
  }

  /** Empties the list of etcd users of a cluster, as an upgrade by Helm does. */
  resetUsers(cluster = this.#pickCluster()): string {
    this.#modify(cluster, "ConfigMap", "clustermesh-remote-users", ({ data }) => {
      data["users.yaml"] = "users: []\n";
    });
    return this.#note("reset etcd users", cluster, "configmaps/clustermesh-remote-users");
  }

  #pickCluster(): FaultyCluster {
    return this.#random.pick(this.#mesh.clusters);
  }

  #modify({ api, name }: FaultyCluster, kind: string, object: string, mutate: (one: KubernetesObject) => void): void {
    const existing = api.store.read(kind, NAMESPACE, object);
    if (!existing) throw new Error(`${name} has no ${kind} ${object}`);
    mutate(existing);
    api.store.put(existing);
  }

  /** @param object - the object of the cluster that may be written once more, or those of its importers with its certificate */
  #note(kind: string, cluster: FaultyCluster, object: string): string {
    this.made.set(kind, (this.made.get(kind) ?? 0) + 1);
    const keys =
      object === "importers"
        ? this.#mesh.clusters
            .filter((one) => one !== cluster)
            .map((importer) => `${importer.name} secrets/${peersSecretOf(importer)}`)
        : [`${cluster.name} ${object}`];
    for (const key of keys) this.#justified.set(key, (this.#justified.get(key) ?? 0) + 1);
    return `${cluster.name}: ${kind}`;
  }
}

/** Returns an object with the uid and the creation time of the stored one. */
function withIdentity(object: KubernetesObject, stored: KubernetesObject | undefined): KubernetesObject {
  const { uid, creationTimestamp } = stored?.metadata ?? {};
  return {
    ...object,
    metadata: { ...object.metadata, ...(uid && { uid }), ...(creationTimestamp && { creationTimestamp }) },
  };
}
