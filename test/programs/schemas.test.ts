/** The JSON Schemas in the docs describe what the programs print. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Ajv2020 } from "ajv/dist/2020.js";
import { parse } from "yaml";
import { definitionOf, FINDING_CODES, type FindingCode } from "../../lib/peer/finding-codes.ts";
import { type Sandbox, servingClusters, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { run } from "../support/programs.ts";

const folder = fileURLToPath(new URL("../../docs/reference/schemas/", import.meta.url));
const NAMES = ["common", "inspect", "verify", "status", "sync-status", "extract-file"] as const;
type SchemaName = (typeof NAMES)[number];

interface Schema {
  [keyword: string]: unknown;
  properties?: Record<string, Schema>;
}

const schemas = Object.fromEntries(
  NAMES.map((name) => [name, JSON.parse(readFileSync(join(folder, `${name}.schema.json`), "utf8")) as Schema]),
) as Record<SchemaName, Schema>;
const ajv = new Ajv2020({ allErrors: true, strict: true, strictRequired: false, allowMatchingProperties: true });
for (const schema of Object.values(schemas)) ajv.addSchema(schema);

function assertValid(name: SchemaName, document: unknown, what: string): void {
  const validate = ajv.getSchema(`${name}.schema.json`) ?? assert.fail();
  assert.ok(validate(document), `${what}: ${ajv.errorsText(validate.errors)}`);
}

/** The schema itself and all schemas in it, with their paths. */
function* subschemas(schema: unknown, path: string): Generator<[path: string, schema: Schema]> {
  if (typeof schema !== "object" || schema === null) return;
  if (!Array.isArray(schema)) yield [path, schema as Schema];
  for (const [key, value] of Object.entries(schema)) yield* subschemas(value, `${path}/${key}`);
}

test("every object of a schema is closed, and every property has a description", () => {
  for (const name of NAMES) {
    for (const [path, schema] of subschemas(schemas[name], name)) {
      if (schema.type !== "object") continue;
      // A mapping has values of one type.
      const { additionalProperties: others } = schema;
      assert.ok(others === false || (typeof others === "object" && others !== null), path);
      for (const [property, { description }] of Object.entries(schema.properties ?? {})) {
        assert.match(String(description), /^[A-Za-z].*\.$/, `${path}/${property}`);
      }
    }
  }
});

test("the schema lists all finding codes, and their former names", () => {
  const { code, formerCode } = (schemas.common.$defs as Record<string, Schema>).finding?.properties ?? {};
  const codes = Object.keys(FINDING_CODES) as FindingCode[];
  assert.deepEqual(code?.enum, [...codes].sort());
  assert.deepEqual(formerCode?.enum, codes.flatMap((one) => definitionOf(one).formerCode ?? []).sort());
});

describe("documents that the programs print", () => {
  let sandbox: Sandbox;
  let dir: string;
  const go = (program: string, ...args: string[]) => run(program, args, { kubeconfig: sandbox.kubeconfig, cwd: dir });
  const document = async (code: number, ...args: string[]): Promise<Record<string, unknown>> => {
    const { code: actual, stdout, stderr } = await go("clustermesh-secrets", ...args, "-o", "json");
    assert.equal(actual, code, stderr);
    const yaml = await go("clustermesh-secrets", ...args, "-o", "yaml");
    const [command] = args;
    assertValid(command as SchemaName, parse(yaml.stdout), `YAML of ${args.join(" ")}`);
    return JSON.parse(stdout);
  };

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "schemas-"));
    sandbox = await startSandbox({ clusters: await servingClusters({ key: "ec" }) });
    for (const name of ["cluster1", "cluster2", "cluster3"]) {
      const { stdout } = await go("extract-secret", name);
      assertValid("extract-file", JSON.parse(stdout), name);
      writeFileSync(join(dir, `${name}.json`), stdout);
    }
  });
  after(async () => {
    await sandbox.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test("extract-secret, with a chosen endpoint and without a key", async () => {
    for (const args of [
      ["cluster2", "--endpoint", "127.0.0.9:2379"],
      ["cluster3", "--keyless"],
    ]) {
      const { code, stdout, stderr } = await go("extract-secret", ...args);
      assert.equal(code, 0, stderr);
      assertValid("extract-file", JSON.parse(stdout), args.join(" "));
    }
  });

  test("inspect, of intact, damaged, keyless and unreadable files", async () => {
    assertValid("inspect", await document(0, "inspect", "cluster1.json", "cluster2.json"), "intact");
    const damaged = JSON.parse(readFileSync(join(dir, "cluster2.json"), "utf8"));
    damaged.data["cluster2.key"] = JSON.parse(readFileSync(join(dir, "cluster3.json"), "utf8")).data["cluster3.key"];
    damaged.metadata.annotations["clustermesh-secrets/cluster-id"] = "900";
    writeFileSync(join(dir, "damaged.json"), JSON.stringify(damaged));
    writeFileSync(join(dir, "cut.json"), '{"kind": "Secret"');
    writeFileSync(join(dir, "keyless.json"), (await go("extract-secret", "cluster3", "--keyless")).stdout);
    const found = await document(2, "inspect", "damaged.json", "cut.json", "keyless.json", "cluster1.json");
    assertValid("inspect", found, "damaged");
    assert.deepEqual(found.unreadable, ["cut.json"]);
  });

  test("status and verify, before and after connect, and with a cluster that is down", async () => {
    const contexts = ["cluster1", "cluster2", "cluster3"];
    assertValid("status", await document(3, "status", ...contexts), "not connected");
    assertValid("verify", await document(0, "verify", "cluster1.json"), "a file");
    const connected = await go("clustermesh-secrets", "connect", ...contexts, "--yes", "--restart-agents");
    assert.equal(connected.code, 0, connected.stderr);
    assertValid("status", await document(0, "status", ...contexts, "--probe"), "connected");
    assertValid("verify", await document(0, "verify", "--context", "cluster1"), "a cluster");
    const wrong = await go("extract-secret", "cluster3", "--endpoint", "127.0.0.9:1");
    writeFileSync(join(dir, "wrong.json"), wrong.stdout);
    assert.equal((await go("import-secrets", "--context", "cluster2", "wrong.json")).code, 0);
    assertValid("verify", await document(3, "verify", "--context", "cluster2"), "a failure");
    const config = parse(readFileSync(sandbox.kubeconfig, "utf8"));
    const [first] = config.clusters;
    first.cluster.server = "https://127.0.0.1:1";
    writeFileSync(join(dir, "kubeconfig"), JSON.stringify(config));
    for (const [command, ...args] of [
      ["status", ...contexts, "--probe", "--expires-within", "9000d"],
      ["verify", "--context", "cluster1", "--context", "cluster2"],
    ] as const) {
      const { code, stdout, stderr } = await run("clustermesh-secrets", [command, ...args, "-o", "json"], {
        kubeconfig: join(dir, "kubeconfig"),
      });
      assert.equal(code, 1, stderr);
      assertValid(command, JSON.parse(stdout), "a cluster that is down");
    }
  });
});
