/** Private keys never appear in streams, arguments, annotations, temporary files or errors. */
import assert from "node:assert/strict";
import { createPrivateKey } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import type { V1Secret } from "@kubernetes/client-node";
import { type Sandbox, startSandbox } from "../../lib/sandbox/sandbox.ts";
import type { ApiRequest } from "../../lib/sandbox/server.ts";
import { type ProgramResult, run } from "../support/programs.ts";

const WINDOW = 16;
const KINDS = ["Secret", "ConfigMap", "Deployment", "DaemonSet"];

/** All windows of {@link WINDOW} characters of the secret numbers of a key, in hex and in single or double base64. */
function traces(pem: string): string[] {
  const key = createPrivateKey(pem);
  const jwk = key.export({ format: "jwk" });
  const numbers = [jwk.d, jwk.p, jwk.q].filter((one) => one !== undefined).map((one) => Buffer.from(one, "base64url"));
  const body = pem.split("\n").filter((line) => line !== "" && !line.startsWith("-----"));
  const encoded = (bytes: Buffer) =>
    [0, 1, 2].map((shift) =>
      Buffer.concat([Buffer.alloc(shift), bytes])
        .toString("base64")
        .slice(4, -4),
    );
  const forms = [...numbers.flatMap(encoded), ...numbers.map((bytes) => bytes.toString("hex"))];
  // The PEM lines with secret numbers, encoded again as in a Secret.
  const secretLines = body.filter((line) => forms.some((form) => windows(form).some((one) => line.includes(one))));
  assert.ok(secretLines.length > 0, "the scan detects the secret numbers of the key");
  return [...forms, ...secretLines.flatMap((line) => encoded(Buffer.from(line)))].flatMap(windows);
}

function windows(text: string): string[] {
  return Array.from({ length: Math.max(0, text.length - WINDOW + 1) }, (_, i) => text.slice(i, i + WINDOW));
}

describe("private keys", () => {
  let sandbox: Sandbox;
  let dir: string;
  let temporary: string;
  let known: Set<string>;
  const keys = new Map<string, string>();
  const file = (name: string) => join(dir, `${name}.json`);
  const api = (name: string) => {
    const cluster = sandbox.clusters.find(({ description }) => description.name === name);
    assert.ok(cluster, name);
    return cluster.api;
  };
  const leaks = (text: string) => windows(text.replaceAll(/\\n|\s/g, "")).filter((one) => known.has(one));
  const go = (program: string, args: string[], stdin?: string) =>
    run(program, args, {
      kubeconfig: sandbox.kubeconfig,
      env: { TMPDIR: temporary },
      ...(stdin !== undefined && { stdin }),
    });

  before(async () => {
    const nodes = [{ name: "n", internalIPs: ["172.18.4.2"] }];
    const base = { nodes, version: "1.20.2" };
    sandbox = await startSandbox({
      clusters: [
        { description: { ...base, name: "c1", id: 1 } },
        { description: { ...base, name: "c2", id: 2 } },
        { description: { ...base, name: "c3", id: 3, version: "1.18.5", kvstoremesh: false } },
        {
          description: { ...base, name: "narrow", id: 4 },
          users: [{ name: "narrow", token: "narrow", forbid: [{ verb: "get", resource: "secrets" }] }],
        },
      ],
    });
    dir = await mkdtemp(join(tmpdir(), "no-key-"));
    temporary = join(dir, "tmp");
    await mkdir(temporary);
    known = new Set();
    for (const name of ["c1", "c2", "c3"]) {
      const { code, stdout, stderr } = await go("extract-secret", ["--context", name]);
      assert.equal(code, 0, stderr);
      await writeFile(file(name), stdout, { mode: 0o600 });
      const secret = JSON.parse(stdout) as V1Secret;
      const key = Buffer.from(secret.data?.[`${name}.key`] ?? "", "base64").toString();
      keys.set(name, key);
      for (const trace of traces(key)) known.add(trace);
      // The scan detects a key in a file and in plain text.
      assert.ok(leaks(stdout).length > 0 && leaks(key).length > 0, "the scan detects a key");
    }
  });
  after(async () => {
    await sandbox?.stop();
    if (dir) await rm(dir, { recursive: true, force: true });
  });
  beforeEach(() => {
    for (const { api } of sandbox.clusters) api.onRequest = undefined;
  });

  /** Scans everything except the places of keys: requested data on stdout, and the data of Secrets. */
  async function scan({ stdout, stderr }: ProgramResult, dataOnStdout: boolean): Promise<void> {
    assert.deepEqual(leaks(stderr), [], "stderr");
    if (!dataOnStdout) assert.deepEqual(leaks(stdout), [], "stdout");
    assert.deepEqual(await readdir(temporary), [], "temporary files");
    for (const { api } of sandbox.clusters) {
      for (const object of KINDS.flatMap((kind) => api.store.all(kind))) {
        const { annotations = {} } = object.metadata;
        assert.deepEqual(
          leaks(JSON.stringify(annotations)),
          [],
          `annotations of ${object.kind} ${object.metadata.name}`,
        );
        if (object.kind === "ConfigMap") assert.deepEqual(leaks(JSON.stringify(object)), [], object.metadata.name);
      }
      for (const { path } of api.requests) assert.deepEqual(leaks(path), [], "a request's path");
    }
  }

  const extracts: [args: string[], dataOnStdout: boolean][] = [
    [["--context", "c2"], true],
    [["--context", "c2", "--debug"], true],
    [["--context", "c2", "-o", "yaml"], true],
    [["--context", "c2", "--output-file", "OUT"], false],
    [["--context", "c2", "--output-file", "/nonexistent/x"], false],
    [["--context", "c2", "--endpoint", "nonsense", "--debug"], false],
    [["--context", "narrow", "--debug"], false],
    [["--help"], false],
  ];
  for (const [args, dataOnStdout] of extracts) {
    test(`extract-secret ${args.join(" ")}`, async () => {
      await scan(
        await go(
          "extract-secret",
          args.map((arg) => (arg === "OUT" ? join(dir, "out.json") : arg)),
        ),
        dataOnStdout,
      );
    });
  }

  const imports: [args: string[], dataOnStdout: boolean][] = [
    [["--context", "c1", "c2"], false],
    [["--context", "c1", "--debug", "c2", "c3"], false],
    [["--context", "c3", "--restart-agents", "--debug", "c1", "c2"], false],
    [["--context", "c1", "--diff", "--prune", "c3"], false],
    [["--context", "c1", "--dry-run=client", "--debug", "c3"], false],
    [["--context", "c1", "--dry-run=server", "--debug", "--tls=common", "c3"], false],
    [["--context", "c1", "--dry-run=server", "-o", "yaml", "c3"], true],
    [["--context", "c1", "-o", "json", "c3"], true],
    [["--context", "c1", "--endpoint", "c2=10.1.1.1:2379", "--debug"], false],
    [["--context", "c1", "--migrate", "--debug"], false],
    [["--context", "c1", "--prune", "c3"], false],
    [["--context", "c1", "--prune", "--yes", "--debug", "c3"], false],
    [["--context", "narrow", "--debug", "c2"], false],
    [["--context", "c1", "--tls=peer", "--debug", "c2"], false],
  ];
  for (const [args, dataOnStdout] of imports) {
    test(`import-secrets ${args.join(" ")}`, async () => {
      await scan(
        await go(
          "import-secrets",
          args.map((arg) => (/^c\d$/.test(arg) && args.indexOf(arg) > 1 ? file(arg) : arg)),
        ),
        dataOnStdout,
      );
    });
  }

  test("a diff hides the last-applied annotation of kubectl, which contains keys", async () => {
    const text = await readFile(file("c2"), "utf8");
    const metadata = {
      name: "cilium-kvstoremesh",
      namespace: "kube-system",
      annotations: { "kubectl.kubernetes.io/last-applied-configuration": text },
    };
    api("c1").store.remove("Secret", "kube-system", "cilium-kvstoremesh");
    api("c1").store.put({ apiVersion: "v1", kind: "Secret", metadata, type: "Opaque", data: JSON.parse(text).data });
    const { stdout, stderr } = await go("import-secrets", ["--context", "c1", "--diff", file("c3")]);
    assert.deepEqual([leaks(stdout), leaks(stderr)], [[], []]);
    await scan(await go("import-secrets", ["--context", "c1", "--debug", file("c3")]), false);
  });

  /** Files with a key in the wrong place. */
  async function badFiles(): Promise<Record<string, string>> {
    const key = keys.get("c2") ?? "";
    const lines = key.split("\n").filter((line) => line !== "" && !line.startsWith("-----"));
    const body = lines.join("");
    const good = JSON.parse(await readFile(file("c2"), "utf8")) as V1Secret;
    const text = JSON.stringify(good, null, 2);
    const base64 = (value: string) => Buffer.from(value).toString("base64");
    const data = (more: Record<string, string>) => JSON.stringify({ ...good, data: { ...good.data, ...more } });
    const config = Buffer.from(good.data?.c2 ?? "", "base64").toString();
    const endpoint = (url: string) => data({ c2: base64(config.replace(/- https:.*/, `- ${url}`)) });
    const alias = (hostname: string, ip = "10.0.0.1") =>
      data({
        c2: base64(`${config.split("cilium-host")[0]}cilium-host-aliases:\n- hostname: ${hostname}\n  ips: [${ip}]\n`),
      });
    const annotated = (annotation: string, value: string) => {
      const annotations = { ...good.metadata?.annotations, [`clustermesh-secrets/${annotation}`]: value };
      return JSON.stringify({ ...good, metadata: { annotations } });
    };
    return {
      "the key alone": key,
      "a cut file": text.slice(0, text.indexOf(good.data?.["c2.key"] ?? "") + 90),
      "a key in the config": data({ c2: base64(`endpoints:\n- ${key}`) }),
      "a key as a path": data({ c2: base64(`endpoints:\n- https://a:1\ncert-file: ${JSON.stringify(key)}\n`) }),
      "a key as an endpoint": endpoint(JSON.stringify(key)),
      "a key as an endpoint's host": endpoint(`https://${key.replaceAll("\n", "")}:1`),
      "a key's body as an endpoint": endpoint(body),
      "a key's body as an endpoint's host": endpoint(`https://${body}:1`),
      "a key's lines as an endpoint": endpoint(JSON.stringify(lines.join("\n"))),
      "a key's lines folded as an endpoint": endpoint(lines.join("\n  ")),
      "a key's body beside an endpoint": endpoint(`https://c2.mesh.cilium.io:32379\n- ${body}`),
      "a key as an alias": alias(JSON.stringify(key)),
      "a key's body as an alias": alias(body),
      "a key's body as an address": alias("c2.mesh.cilium.io", body),
      "a key's body as a field": data({ c2: base64(`${config}${body}: 1\n`) }),
      "a key as the CA": data({ "c2-ca.crt": base64(key) }),
      "a key as the certificate": data({ "c2.crt": base64(key) }),
      "a key that is cut": data({ "c2.key": base64(key.slice(0, 150)) }),
      "a key as the names": annotated("server-names", key),
      "a key's body as the names": annotated("server-names", body),
      "a key's body as the version": annotated("cilium-version", body),
      "a key's body as the id": annotated("cluster-id", body),
      "a key's body as the mode": annotated("routing-mode", body),
      "a key as its kind": JSON.stringify({ ...good, kind: key.split("\n")[1] }),
      "a key as a key of data": data({ [key.split("\n")[1] ?? ""]: base64("endpoints:\n- https://a:1\n") }),
      "YAML that breaks in the key": `kind: Secret\ndata:\n  x: [${key}\n`,
      "the data without its quotes": text.replaceAll('"', ""),
    };
  }

  test("files with a key in the wrong place", async () => {
    const path = join(dir, "bad.json");
    for (const [title, content] of Object.entries(await badFiles())) {
      await writeFile(path, content);
      const [ended, ...inspected] = await Promise.all([
        go("import-secrets", ["--context", "c1", "--diff", "--debug", "-"], content),
        go("clustermesh-secrets", ["inspect", path]),
        go("clustermesh-secrets", ["inspect", "-o", "json", path]),
        go("clustermesh-secrets", ["inspect", "-o", "prometheus", path]),
      ]);
      assert.ok(ended.code === 2 || /version|mode|field|alias$/.test(title), `${title}: ${ended.stderr}`);
      await scan(ended, false);
      for (const { stdout, stderr } of inspected) {
        assert.deepEqual([leaks(stdout), leaks(stderr)], [[], []], `inspect: ${title}`);
      }
    }
  });

  test("a target with a key in the wrong place", async () => {
    for (const [title, content] of Object.entries(await badFiles())) {
      const { data } = content.startsWith('{"') ? (JSON.parse(content) as V1Secret) : {};
      // Kubernetes rejects other keys.
      if (!data || !Object.keys(data).every((one) => /^[-._a-zA-Z0-9]+$/.test(one))) continue;
      const metadata = { name: "cilium-kvstoremesh", namespace: "kube-system", annotations: { note: data.c2 ?? "" } };
      api("c1").store.remove("Secret", "kube-system", "cilium-kvstoremesh");
      api("c1").store.put({ apiVersion: "v1", kind: "Secret", metadata, type: "Opaque", data });
      const ended = await Promise.all([
        go("import-secrets", ["--context", "c1", "--diff", "--prune", file("c3")]),
        go("clustermesh-secrets", ["status", "c1", "-o", "json"]),
        go("clustermesh-secrets", ["status", "c1", "-o", "prometheus"]),
        go("clustermesh-secrets", ["status", "c1", "-o", "html"]),
      ]);
      for (const { stdout, stderr } of ended) assert.deepEqual([leaks(stdout), leaks(stderr)], [[], []], title);
    }
  });

  test("an API server that echoes requests in its errors", async () => {
    for (const status of [400, 403, 409, 413, 422, 500, 503]) {
      api("c1").onRequest = (request: ApiRequest) => {
        if (request.method === "GET") return undefined;
        const message = `cannot: ${JSON.stringify(request.body)}`;
        const causes = [{ field: "data", reason: "FieldValueInvalid", message }];
        // A permanent conflict would be retried for half a minute.
        if (status === 409) api("c1").onRequest = undefined;
        return {
          status,
          body: { kind: "Status", status: "Failure", code: status, reason: "X", message, details: { causes } },
        };
      };
      api("c1").store.remove("Secret", "kube-system", "cilium-kvstoremesh");
      const ended = await go("import-secrets", ["--context", "c1", "--debug", file("c2"), file("c3")]);
      assert.equal(ended.code, status === 409 ? 0 : 1, `${status}: ${ended.stderr}`);
      await scan(ended, false);
    }
  });

  test("the demo", async () => {
    const { code, stdout, stderr } = await run("clustermesh-secrets", ["demo"], { env: { TMPDIR: temporary } });
    assert.equal(code, 0, stderr);
    // The demo creates its own keys, which are detected by their common prefixes.
    assert.doesNotMatch(stdout + stderr, /PRIVATE KEY-----|LS0tLS1CRUdJTi|MIGHAgEAM|MIIEv/);
    assert.deepEqual(await readdir(temporary), []);
  });
});
