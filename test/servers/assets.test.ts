import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { assetNames, findAsset } from "./assets.mjs";

const SCRIPT = join(import.meta.dirname, "assets.mjs");

describe("assets", () => {
  let folder: string;
  const saved = { KUBEBUILDER_ASSETS: process.env.KUBEBUILDER_ASSETS, XDG_CACHE_HOME: process.env.XDG_CACHE_HOME };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "assets-"));
    process.env.KUBEBUILDER_ASSETS = "";
    process.env.XDG_CACHE_HOME = join(folder, "cache");
  });
  afterEach(() => {
    for (const [name, value] of Object.entries(saved)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    rmSync(folder, { recursive: true, force: true });
  });

  const where = () => spawnSync(process.execPath, [SCRIPT, "--where"], { encoding: "utf8" }).stdout.trim();
  /** Creates a fake program, or a chart with a marker file, in a folder. */
  const createAsset = (folder: string, name: string, marker = "") => {
    const path = join(folder, name);
    mkdirSync(marker ? path : folder, { recursive: true });
    writeFileSync(join(path, marker), "");
    return path;
  };

  test("each asset has a separate folder in the cache, named after its version", () => {
    const folders = where().split(delimiter);
    assert.equal(new Set(folders).size, assetNames.length);
    for (const [i, name] of assetNames.entries()) {
      const own = basename(folders[i] ?? "");
      assert.ok(own.startsWith(`${name}-v`), own);
      assert.match(own, /-v\d+\.\d+\.\d+-[0-9a-f]{12}$/);
    }
  });

  test("the output of --where is a valid KUBEBUILDER_ASSETS", () => {
    const folders = where();
    assert.deepEqual(
      assetNames.filter((name) => findAsset(name)),
      [],
    );
    const created = folders
      .split(delimiter)
      .map((one, i) => createAsset(one, assetNames[i] ?? "", /chart/.test(one) ? "Chart.yaml" : ""));
    process.env.KUBEBUILDER_ASSETS = folders;
    process.env.XDG_CACHE_HOME = join(folder, "elsewhere");
    assert.deepEqual(
      assetNames.map((name) => findAsset(name)),
      created,
    );
  });

  test("KUBEBUILDER_ASSETS takes precedence over the cache", () => {
    const cached = where().split(delimiter)[assetNames.indexOf("etcd")] ?? "";
    createAsset(cached, "etcd");
    const given = createAsset(join(folder, "given"), "etcd");
    assert.equal(findAsset("etcd"), join(cached, "etcd"));
    process.env.KUBEBUILDER_ASSETS = [join(folder, "empty"), join(folder, "given")].join(delimiter);
    assert.equal(findAsset("etcd"), given);
  });

  test("folders without a program or a chart are ignored", () => {
    process.env.KUBEBUILDER_ASSETS = join(folder, "odd");
    mkdirSync(join(folder, "odd", "kube-apiserver"), { recursive: true });
    mkdirSync(join(folder, "odd", "cilium-chart-1.18"), { recursive: true });
    assert.equal(findAsset("kube-apiserver"), undefined);
    assert.equal(findAsset("cilium-chart-1.18"), undefined);
  });

  test("an unknown asset is an error", () => {
    assert.throws(() => findAsset("minikube"), /unknown asset: minikube/);
  });
});
