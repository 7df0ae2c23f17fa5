/** Files of other tools that are not Secrets with peers, with fake secrets. */
import { gzipSync } from "node:zlib";
import { stringify } from "yaml";
import type { Call } from "../../lib/peer/foreign/foreign.ts";
import { writePeerFile } from "../../lib/peer/secret.ts";
import { caOf } from "./material.ts";
import { peerOf } from "./targets.ts";

export const good = writePeerFile(peerOf("c2").peer);
export const CALL: Call = { rerun: "import-secrets --context 'my cluster' -", extract: "extract-secret" };
const PIPE = `| ${CALL.rerun}`;
export const json = (object: unknown) => `${JSON.stringify(object, null, 2)}\n`;

/** Returns an encrypted value as `sops encrypt` writes it. */
const sopsValue = (bytes: number, type = "str") => {
  const text = (length: number) => Buffer.alloc(length, 7).toString("base64");
  return `ENC[AES256_GCM,data:${text(bytes)},iv:${text(32)},tag:${text(16)},type:${type}]`;
};
const armor = "-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24\n-----END AGE ENCRYPTED FILE-----\n";
const metadata = {
  age: [{ recipient: "age1qqqq", enc: armor }],
  lastmodified: "2026-03-02T10:11:12Z",
  mac: sopsValue(64),
  encrypted_regex: "^(data|stringData)$",
  version: "3.13.2",
};
const encryptValues = (values: Record<string, string> | undefined) =>
  Object.fromEntries(Object.keys(values ?? {}).map((key) => [key, sopsValue(40)]));
export const sopsSecret = { ...good, data: encryptValues(good.data), sops: metadata };
const sopsWhole = { apiVersion: sopsValue(2), kind: sopsValue(6), data: encryptValues(good.data), sops: metadata };

/** Headers as written by age 1.1.1, gpg 2.2.40, git-crypt 0.7.0 and others. */
const ageHeader = (stanza: string) => `age-encryption.org/v1\n-> ${stanza}\nAAAA\n--- AAAA\n\x9d\xe3`;
const ageArmor = (stanza: string) => {
  const lines =
    Buffer.from(ageHeader(stanza), "latin1")
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN AGE ENCRYPTED FILE-----\n${lines.join("\n")}\n-----END AGE ENCRYPTED FILE-----\n`;
};
export const packets = (header: string, length: number) =>
  Buffer.concat([Buffer.from(header, "hex"), Buffer.alloc(length, 0xa5)]);
const tar = Buffer.alloc(1_024);
tar.write("cluster2-secret.json");
tar.write("ustar\0", 257);

export const TOKEN = "eyJhbGciOiJSUzI1NiIsImtpZCI6InNlY3JldCJ9";
export const kubeconfig = (...contexts: string[]) => ({
  apiVersion: "v1",
  kind: "Config",
  "current-context": contexts[0],
  clusters: [{ name: "c", cluster: { server: "https://10.0.0.1:6443" } }],
  contexts: contexts.map((name) => ({ name, context: { cluster: "c", user: "u" } })),
  users: [{ name: "u", user: { token: TOKEN } }],
});
export const values = (clusters: unknown) => ({
  cluster: { name: "c1", id: 1 },
  clustermesh: { useAPIServer: true, config: { enabled: true, clusters } },
});
const tls = { cert: "Y2VydA==", key: "c2VjcmV0LWtleQ==", caCert: "Y2E=" };
const clusterList = [
  { name: "c2", port: 32379, ips: ["172.18.2.2"], tls },
  { name: "c3", address: "c3.example", port: 2379, tls },
];
const clusterMap = { c2: { enabled: true, ips: ["172.18.2.2"], tls }, c3: { address: "c3.example" } };
const external = (kind: string, spec: object, name = "peers", namespace: string | undefined = "kube-system") => ({
  apiVersion: "external-secrets.io/v1",
  kind,
  metadata: { name, ...(namespace && { namespace }) },
  spec,
});
const template = `apiVersion: v1
kind: Secret
metadata:
  name: {{ include "cilium.name" . }}
data:
{{- range .Values.clusters }}
  {{ .name }}: {{ .config | b64enc }}
{{- end }}
`;
const getCommand = (namespace: string, name: string) =>
  `kubectl --context CONTEXT --namespace ${namespace} get secret ${name} --output yaml ${PIPE}`;
const extractCommand = `extract-secret --context CONTEXT ${PIPE}`;
const omitRemedy = "omit it: pass the files written by extract-secret";

/** A file, and the expected finding. */
export interface Form {
  title: string;
  /** `FILE` in the remedy is the quoted path. */
  name: string;
  content: string | Buffer;
  code: string;
  message: string;
  remedy: string;
}

const form =
  (code: string) =>
  (title: string, name: string, content: string | Buffer, message: string, remedy: string): Form => ({
    title,
    name,
    content,
    code,
    message,
    remedy,
  });
const encrypted = form("encrypted-file");
const foreign = form("foreign-file");

export const FORMS: Form[] = [
  encrypted("SOPS, JSON", "a.json", json(sopsSecret), "is encrypted with SOPS", `sops decrypt FILE ${PIPE}`),
  encrypted("SOPS, YAML", "a.yaml", stringify(sopsSecret), "is encrypted with SOPS", `sops decrypt FILE ${PIPE}`),
  encrypted(
    "SOPS, YAML, named .yml",
    "a b.yml",
    stringify(sopsSecret),
    "is encrypted with SOPS",
    `sops decrypt FILE ${PIPE}`,
  ),
  encrypted(
    "SOPS, all fields encrypted",
    "b.yaml",
    stringify(sopsWhole),
    "is encrypted with SOPS",
    `sops decrypt FILE ${PIPE}`,
  ),
  encrypted(
    "SOPS, several documents",
    "c.yaml",
    `---\n${stringify(sopsSecret)}---\n${stringify(sopsSecret)}`,
    "is encrypted with SOPS",
    `sops decrypt FILE ${PIPE}`,
  ),
  encrypted(
    "SOPS, binary",
    "d.enc",
    json({ data: sopsValue(900), sops: metadata }),
    "is encrypted with SOPS",
    `sops decrypt FILE ${PIPE}`,
  ),
  encrypted(
    "SOPS, binary, named .json",
    "d.json",
    json({ data: sopsValue(900), sops: metadata }),
    "is encrypted with SOPS",
    `sops decrypt --input-type binary --output-type binary FILE ${PIPE}`,
  ),
  encrypted(
    "SOPS, YAML, with another extension",
    "e.YAML",
    stringify(sopsSecret),
    "is encrypted with SOPS",
    `sops decrypt --input-type yaml --output-type yaml FILE ${PIPE}`,
  ),
  encrypted(
    "SOPS, YAML, named .json",
    "e.json",
    stringify(sopsSecret),
    "is encrypted with SOPS",
    `sops decrypt --input-type yaml --output-type yaml FILE ${PIPE}`,
  ),
  encrypted(
    "SOPS, JSON, named .yaml",
    "f.yaml",
    json(sopsSecret),
    "is encrypted with SOPS",
    `sops decrypt FILE ${PIPE}`,
  ),
  encrypted(
    "SOPS without its metadata",
    "g.json",
    json({ ...good, data: encryptValues(good.data) }),
    "contains values encrypted with SOPS, but no sops metadata, so they cannot be decrypted",
    "pass the complete file that sops wrote",
  ),
  ...(["X25519 AAAA", "ssh-ed25519 AAAA BBBB", "piv-p256 AAAA"] as const).flatMap((stanza) => [
    encrypted(
      `age, ${stanza}`,
      "h.json.age",
      Buffer.from(ageHeader(stanza), "latin1"),
      "is encrypted with age",
      `age --decrypt --identity KEY.txt FILE ${PIPE}`,
    ),
    encrypted(
      `age, armored, ${stanza}`,
      "h.asc",
      `\r\n${ageArmor(stanza).replaceAll("\n", "\r\n")}`,
      "is encrypted with age",
      `age --decrypt --identity KEY.txt FILE ${PIPE}`,
    ),
  ]),
  encrypted(
    "age, cut short",
    "h.short",
    "-----BEGIN AGE ENCRYPTED FILE-----\n",
    "is encrypted with age",
    `age --decrypt --identity KEY.txt FILE ${PIPE}`,
  ),
  encrypted(
    "age, for a passphrase",
    "i.age",
    ageHeader("scrypt AAAA 18"),
    "is encrypted with age (passphrase)",
    `age --decrypt FILE ${PIPE}`,
  ),
  encrypted(
    "age, for a passphrase, armored",
    "i.asc",
    ageArmor("scrypt AAAA 18"),
    "is encrypted with age (passphrase)",
    `age --decrypt FILE ${PIPE}`,
  ),
  ...[
    ["RSA", packets("85018c03", 0x18c)],
    ["for a hidden recipient", packets("85018c030000000000000000010c0093", 0x200)],
    ["Curve25519", packets("845e03e05cf62a3fed13f512010740", 0x80)],
    ["a passphrase", packets("8c0d0409030200000000000000", 0x40)],
    ["in the new format", packets("c1c01f0300", 0x100)],
    ["version 6", packets("c15e06", 0x80)],
    ["without a session key", packets("d24901", 0x48)],
    ["of LibrePGP", packets("d4ea01", 0x4000)],
    ["armored", "-----BEGIN PGP MESSAGE-----\n\nhQGMAxytfs6anMkuAQv\n=AAAA\n-----END PGP MESSAGE-----\n"],
  ].map(([of, content]) =>
    encrypted(`OpenPGP, ${of}`, "j.json.gpg", content ?? "", "is encrypted with OpenPGP", `gpg --decrypt FILE ${PIPE}`),
  ),
  encrypted(
    "Ansible Vault",
    "k.yaml",
    "$ANSIBLE_VAULT;1.2;AES256;prod\n36353836\n",
    "is encrypted with Ansible Vault",
    `ansible-vault decrypt --output - FILE ${PIPE}`,
  ),
  encrypted(
    "git-crypt",
    "l.json",
    Buffer.from("\0GITCRYPT\0\x01\x02\xff", "latin1"),
    "is encrypted with git-crypt",
    "git-crypt unlock",
  ),
  encrypted(
    "openssl",
    "m.enc",
    Buffer.from("Salted__\x9d\xe3\xff\x00", "latin1"),
    "is encrypted with openssl enc",
    `openssl enc -d -CIPHER -in FILE ${PIPE}`,
  ),
  encrypted(
    "openssl, base64",
    "n.enc",
    Buffer.concat([Buffer.from("Salted__"), Buffer.alloc(40, 0xe3)]).toString("base64"),
    "is encrypted with openssl enc",
    `openssl enc -d -base64 -CIPHER -in FILE ${PIPE}`,
  ),

  foreign(
    "SealedSecret",
    "o.json",
    json({
      apiVersion: "bitnami.com/v1alpha1",
      kind: "SealedSecret",
      metadata: { name: "peers", namespace: "kube-system" },
      spec: { encryptedData: { c2: "AgBy3i4OJSWK" }, template: { metadata: { name: "cilium-clustermesh" } } },
    }),
    "contains SealedSecret kube-system/peers, which can be decrypted only by the controller in its cluster",
    getCommand("kube-system", "cilium-clustermesh"),
  ),
  foreign(
    "SealedSecrets, several, without a namespace",
    "p.yaml",
    ["a", "b", "c"]
      .map((name) => stringify({ apiVersion: "bitnami.com/v1alpha1", kind: "SealedSecret", metadata: { name } }))
      .join("---\n"),
    "contains SealedSecret a, which can be decrypted only by the controller in its cluster (and 2 more)",
    getCommand("NAMESPACE", "a"),
  ),
  foreign(
    "SealedSecret with invalid names",
    "p.json",
    json({
      apiVersion: "bitnami.com/v1alpha1",
      kind: "SealedSecret",
      metadata: { name: "$(rm -rf ~)", namespace: "a; b" },
    }),
    "contains SealedSecret, which can be decrypted only by the controller in its cluster",
    getCommand("NAMESPACE", "NAME"),
  ),
  foreign(
    "ExternalSecret",
    "q.yaml",
    stringify(external("ExternalSecret", { target: { name: "cilium-kvstoremesh" }, dataFrom: [] })),
    "contains ExternalSecret kube-system/peers, which contains no values: the operator creates the Secret in the cluster",
    getCommand("kube-system", "cilium-kvstoremesh"),
  ),
  foreign(
    "ExternalSecret without a target's name",
    "q.json",
    json(external("ExternalSecret", { target: {} }, "cilium-clustermesh")),
    "contains ExternalSecret kube-system/cilium-clustermesh, which contains no values: the operator creates the Secret in the cluster",
    getCommand("kube-system", "cilium-clustermesh"),
  ),
  foreign(
    "ClusterExternalSecret",
    "r.yaml",
    stringify(
      external("ClusterExternalSecret", { externalSecretName: "e", externalSecretSpec: { target: {} } }, "p", ""),
    ),
    "contains ClusterExternalSecret p, which contains no values: the operator creates the Secrets in the cluster",
    getCommand("NAMESPACE", "e"),
  ),
  foreign(
    "PushSecret",
    "s.yaml",
    stringify(external("PushSecret", { selector: { secret: { name: "cilium-clustermesh" } } })),
    "contains PushSecret kube-system/peers, which contains no values: it copies a Secret from the cluster to an external store",
    getCommand("kube-system", "cilium-clustermesh"),
  ),
  foreign(
    "PushSecret with a generator",
    "s.json",
    json(external("PushSecret", { selector: { generatorRef: { kind: "Password" } } })),
    "contains PushSecret kube-system/peers, which contains no values: it copies a Secret from the cluster to an external store",
    getCommand("kube-system", "NAME"),
  ),
  foreign(
    "ClusterPushSecret",
    "t.yaml",
    stringify(external("ClusterPushSecret", { pushSecretSpec: { selector: { secret: { name: "x" } } } }, "p", "")),
    "contains ClusterPushSecret p, which contains no values: it copies Secrets from the cluster to an external store",
    getCommand("NAMESPACE", "x"),
  ),
  foreign(
    "kubeconfig with one context",
    "u.yaml",
    stringify(kubeconfig("arn:aws:eks:eu-west-1:123456789012:cluster/prod east")),
    "is a kubeconfig (context arn:aws:eks:eu-west-1:123456789012:cluster/prod east), not a Secret",
    `extract-secret --kubeconfig FILE --context 'arn:aws:eks:eu-west-1:123456789012:cluster/prod east' ${PIPE}`,
  ),
  foreign(
    "kubeconfig with several contexts, JSON",
    "v.json",
    json(kubeconfig("a", "b", "c", "d", "e", "f")),
    "is a kubeconfig (contexts a, b, c, d and 2 more), not a Secret",
    `extract-secret --kubeconfig FILE --context CONTEXT ${PIPE}`,
  ),
  foreign(
    "kubeconfig without kind",
    "w.yaml",
    stringify({ ...kubeconfig("a"), kind: undefined }),
    "is a kubeconfig (context a), not a Secret",
    `extract-secret --kubeconfig FILE --context a ${PIPE}`,
  ),
  foreign(
    "kubeconfig with a secret as context name",
    "x.yaml",
    stringify(kubeconfig(TOKEN.repeat(2))),
    "is a kubeconfig, not a Secret",
    `extract-secret --kubeconfig FILE --context CONTEXT ${PIPE}`,
  ),
  ...[
    ["list", values(clusterList)],
    ["map", values(clusterMap)],
    ["list, for a parent chart", { cilium: values(clusterList) }],
    ["map, for a parent chart", { global: {}, "rke2-cilium": values(clusterMap) }],
  ].map(([of, content]) =>
    foreign(
      `values, ${of as string}`,
      "values.yaml",
      stringify(content),
      "is a values file of Cilium's Helm chart with clustermesh.config.clusters (c2, c3), not a Secret; extract each cluster instead".replace(
        "c2, c3",
        "c2 and c3",
      ),
      extractCommand,
    ),
  ),
  foreign(
    "values without clusters",
    "values.json",
    json(values([])),
    "is a values file of Cilium's Helm chart, not a Secret; extract each cluster instead",
    extractCommand,
  ),
  foreign(
    "ConfigMap cilium-config",
    "y.json",
    json({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "cilium-config", namespace: "kube-system" },
      data: { "cluster-name": "c2", "cluster-id": "2" },
    }),
    "contains ConfigMap kube-system/cilium-config of cluster c2, not a Secret",
    extractCommand,
  ),
  foreign(
    "Argo CD Application",
    "z.yaml",
    stringify({ apiVersion: "argoproj.io/v1alpha1", kind: "Application", metadata: { name: "cilium" } }),
    "contains Application cilium of Argo CD, not a Secret",
    omitRemedy,
  ),
  foreign(
    "Flux HelmRelease",
    "z.json",
    json({ apiVersion: "helm.toolkit.fluxcd.io/v2", kind: "HelmRelease", metadata: { name: "cilium" } }),
    "contains HelmRelease cilium of Flux, not a Secret",
    omitRemedy,
  ),
  foreign(
    "kustomization",
    "kustomization.yaml",
    "resources:\n- cluster2-secret.yaml\n",
    "is a kustomization, not a Secret",
    omitRemedy,
  ),
  foreign(
    "chart",
    "Chart.yaml",
    "apiVersion: v2\nname: mesh\nversion: 0.1.0\n",
    "is a Helm Chart.yaml, not a Secret",
    omitRemedy,
  ),
  foreign(
    "SOPS configuration",
    ".sops.yaml",
    "creation_rules:\n- age: age1qqqq\n",
    "is a SOPS configuration file, not a Secret",
    omitRemedy,
  ),
  foreign(
    "chart template",
    "secret.yaml",
    template,
    "is an unrendered template ({{ … }})",
    `helm template RELEASE CHART --show-only TEMPLATE ${PIPE}`,
  ),
  ...[
    [
      "{{ .Values.config }}",
      "unrendered template values ({{ … }})",
      `helm template RELEASE CHART --show-only TEMPLATE ${PIPE}`,
    ],
    [
      "<path:kv/data/mesh#c2>",
      "unresolved placeholders of the Argo CD Vault Plugin",
      `argocd-vault-plugin generate FILE ${PIPE}`,
    ],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: content of a template file
    ["${C2_CONFIG:=x}", "unsubstituted variables", `envsubst < FILE ${PIPE}`],
    ["ref+vault://kv/mesh#/c2", "unresolved vals references", `vals eval -f FILE ${PIPE}`],
  ].map(([value = "", what = "", remedy = ""]) =>
    foreign(
      `placeholders: ${value}`,
      "secret.json",
      json({ ...good, data: { ...good.data, c2: value, "c2.key": value } }),
      `contains a Secret with ${what}`,
      remedy,
    ),
  ),
  foreign("gzip", "c2.json.gz", gzipSync(json(good)), "is compressed with gzip", `gzip -dc FILE ${PIPE}`),
  foreign("tar", "all.tar", tar, "is a tar archive", `tar -xOf FILE ${PIPE}`),
  foreign("ZIP", "all.zip", Buffer.from("PK\x03\x04\x14\0"), "is a ZIP archive", `unzip -p FILE ${PIPE}`),
  foreign("xz", "a.xz", Buffer.from("fd377a585a000004", "hex"), "is compressed with xz", `xz -dc FILE ${PIPE}`),
  foreign("zstd", "a.zst", Buffer.from("28b52ffd0458", "hex"), "is compressed with zstd", `zstd -dc FILE ${PIPE}`),
  foreign(
    "bzip2",
    "a.bz2",
    Buffer.from("BZh91AY&SY\xff\x01", "latin1"),
    "is compressed with bzip2",
    `bzip2 -dc FILE ${PIPE}`,
  ),
  foreign(
    "Git LFS pointer",
    "lfs.json",
    "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5120\n",
    "is a Git LFS pointer, not the file itself",
    "git lfs pull",
  ),
  foreign(
    "HTML",
    "page.json",
    "\n<!DOCTYPE html>\n<html><body>Sign in</body></html>\n",
    "is an HTML page, probably a login page",
    "download the file again",
  ),
  foreign("certificate", "ca.crt", caOf("a").cert, "is a PEM file (CERTIFICATE), not a Secret", extractCommand),
];
