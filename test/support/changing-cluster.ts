/** A cluster of a real mesh whose nodes, load balancer, certificates and Cilium change, as Kubernetes and people change them. */
import type { V1Secret } from "@kubernetes/client-node";
import { clusterObjects } from "../../lib/sandbox/chart.ts";
import { type KubernetesObject, timestamp } from "../../lib/sandbox/object.ts";
import { type Issuer, issue } from "../../lib/sandbox/pki.ts";
import { podStatus } from "../../lib/sandbox/pods.ts";
import type { Member } from "./mesh.ts";
import { freeAddress, runClusterSync } from "./real.ts";
import { startTcpForward, type TcpForward } from "./tcp-forward.ts";

const CORE = "/api/v1/namespaces/kube-system";

export interface KeyPair {
  cert: string;
  key: string;
}

export class ChangingCluster {
  readonly member: Member;
  /** The addresses at which other clusters reach its etcd. */
  readonly addresses: TcpForward[] = [];

  constructor(member: Member) {
    this.member = member;
  }

  /** Gives its etcd another address, which nothing refers to yet. */
  async addAddress(): Promise<TcpForward> {
    const { etcd, port } = this.member;
    const forward = await startTcpForward(await freeAddress(port), port, etcd.url);
    this.addresses.push(forward);
    return forward;
  }

  /** Takes an address away, with its connections. */
  async removeAddress(forward: TcpForward): Promise<void> {
    this.addresses.splice(this.addresses.indexOf(forward), 1);
    await forward.stop();
  }

  /** Replaces all nodes. */
  async setNodes(addresses: readonly TcpForward[]): Promise<void> {
    await this.member.api.ask("DELETE", "/api/v1/nodes");
    for (const one of addresses) await this.addNode(one);
  }

  async addNode(forward: TcpForward): Promise<void> {
    const status = {
      addresses: [{ type: "InternalIP", address: forward.address }],
      conditions: [{ type: "Ready", status: "True", reason: "KubeletReady" }],
    };
    const metadata = { name: nodeName(forward), labels: { "kubernetes.io/os": "linux" } };
    await this.member.api.create([{ apiVersion: "v1", kind: "Node", metadata, status }]);
  }

  async removeNode(forward: TcpForward): Promise<void> {
    await this.member.api.ask("DELETE", `/api/v1/nodes/${nodeName(forward)}`);
  }

  /** Sets the address of the load balancer, as its controller does. */
  async setLoadBalancer({ address: ip }: TcpForward): Promise<void> {
    const status = { loadBalancer: { ingress: [{ ip }] } };
    await this.member.api.ask("PATCH", `${CORE}/services/clustermesh-apiserver/status`, { status });
  }

  /** Replaces files of the Secrets with the client and server certificate for etcd. */
  async setCertificates(files: { ca?: string; client?: KeyPair; server?: KeyPair }): Promise<void> {
    for (const [name, pair] of [
      ["remote", files.client],
      ["server", files.server],
    ] as const) {
      const data = {
        ...(files.ca !== undefined && { "ca.crt": encode(files.ca) }),
        ...(pair && { "tls.crt": encode(pair.cert), "tls.key": encode(pair.key) }),
      };
      if (Object.keys(data).length === 0) continue;
      await this.member.api.ask("PATCH", `${CORE}/secrets/clustermesh-apiserver-${name}-cert`, { data });
    }
  }

  /**
   * Restarts the pod of the clustermesh-apiserver, with other certificates.
   *
   * @param admin - the CA of the client certificate of the cluster's own programs.
   */
  async restartPod(ca: string, server: KeyPair, admin: Issuer): Promise<void> {
    const { member } = this;
    const { api, etcd, name } = member;
    await member.sync.stop();
    await etcd.restartWith({ ca, ...server, admin: issueClient(admin, `admin-${name}`) });
    member.sync = await runClusterSync({ cluster: member, api, etcd });
    const path = `${CORE}/pods`;
    const { items }: { items: KubernetesObject[] } = await api.ask(
      "GET",
      `${path}?labelSelector=k8s-app%3Dclustermesh-apiserver`,
    );
    for (const pod of items) {
      await api.ask("DELETE", `${path}/${pod.metadata.name}?gracePeriodSeconds=0`);
      const metadata = {
        name: `${pod.metadata.name}-new`,
        namespace: "kube-system",
        labels: pod.metadata.labels ?? {},
      };
      // Times have whole seconds, and Secrets of this second were written before.
      const started = timestamp(new Date(Date.now() + 1_000));
      const { nodeName: _, ...spec } = pod.spec;
      await api.create([{ apiVersion: "v1", kind: "Pod", metadata, spec, status: podStatus(pod, true, started) }]);
    }
  }

  /** Applies what an upgrade of the chart with KVStoreMesh changes. */
  async enableKvstoreMesh(): Promise<void> {
    const { api, description, pki } = this.member;
    const objects = clusterObjects({ ...description, kvstoremesh: true }, pki);
    await api.create(objects.filter(({ metadata }) => metadata.name === "clustermesh-apiserver-local-cert"));
    for (const { kind, metadata, spec } of objects) {
      if (kind !== "Deployment" && kind !== "DaemonSet") continue;
      const path = `/apis/apps/v1/namespaces/kube-system/${kind.toLowerCase()}s/${metadata.name}`;
      await api.ask("PATCH", path, { spec });
    }
  }

  /** Returns the text of a key of a Secret; empty if it does not exist. */
  async read(secret: string, key: string): Promise<string> {
    const { status, body } = await this.member.api.request("GET", `${CORE}/secrets/${secret}`);
    const { data = {} }: V1Secret = status === 200 ? body : {};
    return Buffer.from(data[key] ?? "", "base64").toString();
  }

  /** Returns the CAs (PEM) that the config of a peer refers to; empty if there is none. */
  async readAuthorities(secret: string, peer: string): Promise<string> {
    const file = /^trusted-ca-file: .*\/(\S+)$/m.exec(await this.read(secret, peer))?.[1];
    return file === undefined ? "" : this.read(secret, file);
  }

  /** Returns the versions of the objects that an import writes. */
  async versions(): Promise<string> {
    const paths = ["secrets/cilium-clustermesh", "secrets/cilium-kvstoremesh", "configmaps/clustermesh-remote-users"];
    const answers = await Promise.all(paths.map((path) => this.member.api.request("GET", `${CORE}/${path}`)));
    return [this.member.name, ...answers.map(({ body }) => body.metadata?.resourceVersion ?? "none")].join(" ");
  }

  async stop(): Promise<void> {
    await this.member.sync.stop();
    for (const one of this.addresses) await one.stop();
  }
}

const encode = (text: string) => Buffer.from(text).toString("base64");

const nodeName = ({ address }: TcpForward) => `node-${address.replaceAll(".", "-")}`;

/** Issues a client certificate for etcd. */
export function issueClient(ca: Issuer, cn = "remote"): KeyPair {
  return issue(ca, { cn, usage: "client", key: "ec" });
}

/** Issues a server certificate for etcd, with the names of the chart. */
export function issueServer(ca: Issuer): KeyPair {
  const names = { dns: ["*.mesh.cilium.io", "clustermesh-apiserver.kube-system.svc"], ips: ["127.0.0.1", "::1"] };
  return issue(ca, { cn: "clustermesh-apiserver.kube-system.svc", usage: "server", key: "ec", ...names });
}
