/** The page of `status -o html` in a real browser. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, type TestContext, test } from "node:test";
import { pathToFileURL } from "node:url";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { defaultClusters, startSandbox } from "../../lib/sandbox/sandbox.ts";
import { startBrowser, withoutBrowser } from "../support/browser.ts";
import { findingWith } from "../support/findings.ts";
import { meshOf, staleEndpoint, troubledMesh } from "../support/mesh-status.ts";
import { run } from "../support/programs.ts";
import { pageOf } from "../support/status-page.ts";

describe("status pages in a browser", { skip: withoutBrowser() }, () => {
  let browser: Browser;
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "html-"));
    browser = await startBrowser();
  });
  after(async () => {
    await browser?.close();
    if (dir) await rm(dir, { recursive: true, force: true });
  });

  /** Opens a page from a file, and fails at the end of the test if it logged anything or requested more than itself. */
  async function open(t: TestContext, html: string, options: BrowserContextOptions = {}): Promise<Page> {
    const path = join(dir, `${t.name.replaceAll(/\W+/g, "-")}.html`);
    await writeFile(path, html);
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
    // A wait that never ends is an error of the page.
    context.setDefaultTimeout(120_000);
    const page = await context.newPage();
    const unexpected: string[] = [];
    page.on("console", (message) => unexpected.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => unexpected.push(`${error}`));
    page.on("dialog", (dialog) => unexpected.push(`dialog: ${dialog.message()}`));
    const url = pathToFileURL(path).href;
    page.on("request", (request) => request.url() !== url && unexpected.push(`request: ${request.url()}`));
    t.after(async () => {
      await context.close();
      assert.deepEqual(unexpected, []);
    });
    await page.goto(url);
    if (options.javaScriptEnabled !== false) await drawn(page);
    return page;
  }

  const drawn = (page: Page) => page.locator("table[role=grid][aria-busy=false]").waitFor();
  const result = (page: Page) => page.locator("#filter-result");
  const sizeOf = async (page: Page) => [
    await page.locator("[role=grid] tbody tr").count(),
    await page.locator("[role=grid] thead th").count(),
  ];
  const cell = (page: Page, row: number, column: number) =>
    page.getByRole("grid").locator(`tbody tr:nth-child(${row}) td:nth-child(${column + 1})`);
  const waitForResult = (page: Page, text: string) => result(page).filter({ hasText: text }).waitFor();

  for (const size of [3, 60, 254]) {
    for (const colorScheme of ["light", "dark"] as const) {
      test(`${size} clusters, ${colorScheme}: the matrix, details and filters`, async (t) => {
        const page = await open(t, pageOf(troubledMesh(size)), { colorScheme });
        assert.deepEqual(await sizeOf(page), [size, size]);
        assert.equal(
          await result(page).innerText(),
          `${size} of ${size} clusters, ${size > 3 ? "3 of 3" : "1 of 1"} findings`,
        );
        const background = await page.evaluate("getComputedStyle(document.body).backgroundColor");
        assert.equal(background, colorScheme === "light" ? "rgb(255, 255, 255)" : "rgb(13, 17, 23)");
        await cell(page, 1, 2).hover();
        const details = page.locator("#details");
        assert.match(await details.innerText(), /^cluster1 → cluster2\n+! warnings\n[\s\S]*\[pod-cidrs-overlap\]/);
        assert.equal(await cell(page, 1, 2).getAttribute("title"), "cluster1 → cluster2: warnings");
        await page.getByLabel("only problems").check();
        await waitForResult(page, size === 3 ? "2 of 3 clusters" : size === 60 ? "26 of 60" : "110 of 254");
        await drawn(page);
        const [rows = 0, columns = 0] = await sizeOf(page);
        assert.ok(rows < size && columns < size, `${rows} rows, ${columns} columns`);
      });
    }
  }

  test("filters by name and code, and reset", async (t) => {
    const page = await open(t, pageOf(troubledMesh(60)));
    await page.getByLabel("Cluster", { exact: true }).fill("cluster4");
    await waitForResult(page, "11 of 60 clusters");
    await drawn(page);
    assert.deepEqual(await sizeOf(page), [11, 60]);
    await page.locator("#filter-code").selectOption("endpoint-stale");
    await waitForResult(page, "6 of 60 clusters, 1 of 3 findings");
    await drawn(page);
    const visible = page.locator("#findings > li:visible");
    assert.match(await visible.innerText(), /configured endpoints of 149 peers are outdated/);
    for (const heading of await page.locator("[role=grid] tbody th").allInnerTexts())
      assert.match(heading, /✗ cluster4/);
    await page.locator("#filter-role").selectOption("peer");
    await page.locator("[role=grid] thead th").nth(2).waitFor({ state: "detached" });
    assert.deepEqual(await page.locator("[role=grid] thead th").allInnerTexts(), ["cluster42", "cluster49"]);
    await page.getByRole("button", { name: "Reset" }).click();
    await waitForResult(page, "60 of 60 clusters, 3 of 3 findings");
    await drawn(page);
    assert.deepEqual(await sizeOf(page), [60, 60]);
  });

  test("a click keeps the details, whose command can be selected, until Escape", async (t) => {
    const page = await open(t, pageOf(troubledMesh(12)));
    const details = page.locator("#details");
    await cell(page, 1, 7).click();
    await cell(page, 2, 3).hover();
    const command = "extract-secret --context cluster7 | import-secrets --context cluster1 -";
    assert.equal(await details.locator("code").innerText(), command);
    await details.locator("code").click();
    assert.equal(await page.evaluate("getSelection().toString()"), command);
    await details.getByRole("link", { name: "in the list" }).click();
    assert.ok(await page.locator("#finding-1:target").isVisible());
    await cell(page, 1, 7).focus();
    await page.keyboard.press("Escape");
    await cell(page, 2, 3).hover();
    assert.match(await details.innerText(), /^cluster2 → cluster3\n+✓ healthy$/);
  });

  test("arrow keys move in the matrix, and headings show clusters", async (t) => {
    const page = await open(t, pageOf(troubledMesh(12)));
    const details = page.locator("#details");
    const title = () => details.locator("h3").innerText();
    await page.getByRole("button", { name: "Reset" }).focus();
    await page.keyboard.press("Tab");
    assert.equal(await title(), "cluster1");
    assert.match(await details.innerText(), /cluster1 → cluster7: endpoint-stale/);
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowDown");
    assert.equal(await title(), "cluster2 → cluster2");
    await page.keyboard.press("End");
    assert.equal(await title(), "cluster2 → cluster12");
    await page.keyboard.press("PageUp");
    assert.equal(await title(), "cluster12");
    await page.keyboard.press("PageDown");
    assert.equal(await title(), "cluster10 → cluster12");
    await page.keyboard.press("Home");
    assert.match(await details.innerText(), /cannot reach the API server/);
  });

  test("the matrix has the semantics of a grid with headings", async (t) => {
    const page = await open(t, pageOf(troubledMesh(3)));
    const grid = page.getByRole("grid", { name: "Connections" });
    assert.equal(await grid.getByRole("columnheader").count(), 3);
    assert.equal(await grid.getByRole("rowheader", { name: "! cluster1" }).count(), 1);
    assert.equal(await grid.getByRole("gridcell", { name: "warnings, pod-cidrs-overlap" }).count(), 2);
    assert.equal(await grid.locator("th:not([scope])").count(), 0);
  });

  test("long contexts that start alike differ in the middle, and a heading alone is marked", async (t) => {
    const status = troubledMesh(12);
    const contextOf = (name: string) => `arn:aws:eks:eu-central-1:123456789012:cluster/${name}`;
    for (const cluster of status.clusters) cluster.source = contextOf(cluster.source);
    for (const pair of status.pairs) pair.importer = contextOf(pair.importer);
    const page = await open(t, pageOf(status));
    const headings = page.locator("[role=grid] tbody th");
    assert.equal(await headings.nth(2).innerText(), "arn:aws:eks:…789012:cluster/cluster3");
    assert.equal(await headings.nth(2).getAttribute("title"), `${contextOf("cluster3")}: healthy`);
    await headings.nth(2).hover();
    assert.deepEqual(await page.locator(".shown").allInnerTexts(), [await headings.nth(2).innerText()]);
  });

  test("without JavaScript the findings and the table of clusters are readable", async (t) => {
    const page = await open(t, pageOf(troubledMesh(12)), { javaScriptEnabled: false });
    const text = await page.locator("body").innerText();
    assert.match(text, /The matrix requires JavaScript\./);
    assert.match(
      text,
      /configured endpoints of 2 peers are outdated: cluster7 in cluster1, cluster4 \[endpoint-stale\]/,
    );
    assert.match(text, /cluster10\s+10\s+-\s+-\s+-\s+✗ unreadable/);
    assert.ok(!(await page.locator("#filters").isVisible()));
  });

  test("hostile names are shown as text", async (t) => {
    const status = meshOf(3);
    const name = `"><img src=x onerror=alert(1)></script><script>alert(2)</script>`;
    const [first] = status.clusters;
    assert.ok(first);
    Object.assign(first, { source: name, name, version: name });
    first.findings.push(findingWith("cluster-unreadable", { source: name }, name, `kubectl get ${name}`));
    for (const pair of status.pairs) {
      if (pair.importer === "cluster1") pair.importer = name;
      if (pair.peer === "cluster1") pair.peer = name;
      pair.findings.push(findingWith("endpoint-stale", { source: pair.importer, key: pair.peer }, name, name));
    }
    const page = await open(t, pageOf(status));
    assert.equal(await page.locator("img").count(), 0);
    assert.equal(await page.locator("[role=grid] thead th").first().innerText(), name);
    await cell(page, 2, 1).hover();
    assert.match(await page.locator("#details h3").innerText(), /^cluster2 → "><img src=x/);
  });

  test("a page of 254 clusters whose pairs all fail shows the findings of each", async (t) => {
    const page = await open(t, pageOf(meshOf(254, (i, j) => ({ findings: [staleEndpoint(i, j)] }))));
    await cell(page, 254, 253).focus();
    const command = "extract-secret --context cluster253 | import-secrets --context cluster254 -";
    assert.equal(await page.locator("#details code").innerText(), command);
  });

  test("the page that the program prints", async (t) => {
    const sandbox = await startSandbox({ clusters: defaultClusters("ec") });
    t.after(() => sandbox.stop());
    const { kubeconfig } = sandbox;
    const { code, stdout } = await run("clustermesh-secrets", ["status", "--all-contexts", "-o", "html"], {
      kubeconfig,
    });
    assert.equal(code, 3, "clusters are not connected");
    const page = await open(t, stdout);
    await cell(page, 1, 2).hover();
    assert.match(await page.locator("#details").innerText(), /^cluster1 → cluster2\n/);
  });
});
