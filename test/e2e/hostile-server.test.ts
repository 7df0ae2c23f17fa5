/** What the objects of an API server that is not trusted can do to the output of a command. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { EXTRACT_DEFAULTS, extract } from "../../lib/extract/extract.ts";
import { prepareImport } from "../../lib/import/prepare.ts";
import { readTarget } from "../../lib/import/read-target.ts";
import { KubernetesApi } from "../../lib/kube/api.ts";
import { obtainCredentials } from "../../lib/kube/auth/credentials.ts";
import { loadKubeconfig, selectContext } from "../../lib/kube/kubeconfig/kubeconfig.ts";
import { openTransport, type Request, type Response } from "../../lib/kube/transport/transport.ts";
import { meshStatus } from "../../lib/mesh/status.ts";
import { findingsOf } from "../../lib/mesh/status-report.ts";
import type { Peer } from "../../lib/peer/peer.ts";
import { showFindings } from "../../lib/render/findings.ts";
import { escapeControlChars, escapeLine, styleFor } from "../../lib/render/style.ts";
import { UserError } from "../../lib/util/errors.ts";
import { startJoinedMesh } from "../support/joined-mesh.ts";
import { OPTIONS } from "../support/targets.ts";

const FORGED = "\nerror: forged\u001b[2J\u202e'; touch pwned; $(touch pwned)";
const resolve = async () => [];

/** The responses of an API server by request, some of which are changed. */
class Recording {
  readonly responses = new Map<string, Response>();
  readonly #send: (request: Request) => Promise<Response>;
  /** The response to one of the requests. */
  changed: { key: string; response: Response } | undefined;

  constructor(send: (request: Request) => Promise<Response>) {
    this.#send = send;
  }

  async request(request: Request): Promise<Response> {
    const key = [request.method, request.path, request.accept, request.body].join(" ");
    if (this.changed?.key === key) return this.changed.response;
    const known = this.responses.get(key) ?? (await this.#send(request));
    this.responses.set(key, known);
    return known;
  }

  stream(): Promise<never> {
    return Promise.reject(new Error("unexpected stream"));
  }

  close(): void {}
}

async function record(t: TestContext, kubeconfig: string, name: string) {
  const context = await selectContext(await loadKubeconfig({ env: {}, path: kubeconfig }), name);
  const transport = openTransport(context, (rejected) => obtainCredentials(context, {}, rejected), { env: {} });
  t.after(() => transport.close());
  const recording = new Recording((request) => transport.request(request));
  const options = { context: name, flags: `--context ${name}`, fieldManager: "me" };
  return { recording, api: new KubernetesApi(recording, options) };
}

/** The lines that a program prints of a cluster: the error, or its warnings, notes and findings. */
async function linesOf(run: () => Promise<string[]>): Promise<string[]> {
  try {
    return await run();
  } catch (error) {
    // Objects that violate the schema of Kubernetes may end a command as a bug does.
    const mark = error instanceof UserError ? "error" : "error: unexpected";
    return `${mark}: ${escapeControlChars(String((error as Error).message))}`.split("\n");
  }
}

type Path = (string | number)[];

/** The paths of all texts of a JSON value, of equal items of a list only those of the first. */
function pathsOf(value: unknown, path: Path = []): Path[] {
  if (typeof value === "string") return [path];
  if (Array.isArray(value)) return value.slice(0, 2).flatMap((item, i) => pathsOf(item, [...path, i]));
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, field]) =>
    key === "managedFields" ? [] : pathsOf(field, [...path, key]),
  );
}

/** Copies of a JSON value in which the text at a path is replaced or extended, or its field is renamed. */
function forge(body: object, path: Path): object[] {
  const last = path.at(-1) ?? "";
  const change = (by: (parent: Record<string | number, string>) => void): object => {
    const copy = structuredClone(body);
    by(path.slice(0, -1).reduce<never>((parent, key) => parent[key] as never, copy as never));
    return copy;
  };
  const replace = (text: (before: string) => string) =>
    change((parent) => {
      parent[last] = text(parent[last] ?? "");
    });
  const isBase64 = path[0] === "data" && "type" in body;
  const extend = (before: string) =>
    isBase64 ? Buffer.from(Buffer.from(before, "base64") + FORGED).toString("base64") : before + FORGED;
  const rename = () =>
    change((parent) => {
      parent[last + FORGED] = parent[last] ?? "";
      delete parent[last];
    });
  return [replace(() => FORGED), replace(extend), ...(typeof last === "string" ? [rename()] : [])];
}

test("no text of an API server adds a line to the output, or a command to a remedy", async (t) => {
  const mesh = await startJoinedMesh(t, [{ version: "1.18.5" }, { version: "1.20.2" }]);
  const { kubeconfig } = mesh.sandbox;
  const hostile = await record(t, kubeconfig, "c1");
  const good = await record(t, kubeconfig, "c2");
  const style = styleFor({}, {});
  const options = { ...EXTRACT_DEFAULTS, resolve };
  let peer: Peer | undefined;
  const commands = [
    async () => {
      const { warnings, notes } = await extract(hostile.api, options);
      return [...warnings, ...notes].map(escapeLine);
    },
    async () => {
      const { target, warnings } = await readTarget(hostile.api, "c1");
      peer ??= (await extract(good.api, options)).peer;
      const peers = [{ peer, source: "c2.json" }];
      const { findings } = await prepareImport([{ api: hostile.api, target, peers }], { plan: OPTIONS, resolve });
      return [...warnings.map(escapeLine), ...showFindings(findings, style)];
    },
    async () => {
      const clusters = [
        { source: "c1", api: hostile.api },
        { source: "c2", api: good.api },
      ];
      return showFindings(findingsOf(await meshStatus(clusters, { now: new Date(), resolve })), style);
    },
  ];
  for (const command of commands) await command();
  let shown = 0;
  for (const [key, response] of [...hostile.recording.responses]) {
    const body = JSON.parse(response.body) as object;
    for (const changed of pathsOf(body).flatMap((path) => forge(body, path))) {
      hostile.recording.changed = { key, response: { ...response, body: JSON.stringify(changed) } };
      for (const command of commands) {
        for (const line of (await linesOf(command)).filter((one) => one.includes("forged"))) {
          shown++;
          assert.doesNotMatch(line, /^error: forged|[\p{C}\p{Zl}\p{Zp}]/u);
          // Only quoted text follows the name of a program.
          const call = /(?:kubectl|extract-secret|import-secrets|clustermesh-secrets) .*/.exec(line)?.[0] ?? "";
          assert.doesNotMatch(call.replace(/\$?'(?:[^'\\]|\\.)*'/g, ""), /touch pwned/, line);
        }
      }
    }
  }
  assert.ok(shown > 20, `${shown} lines with forged text`);
});
