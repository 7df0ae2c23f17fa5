import assert from "node:assert/strict";
import { test } from "node:test";
import type { V1ConfigMap } from "@kubernetes/client-node";
import fc from "fast-check";
import { parse, stringify } from "yaml";
import { mergeUsers, UsersError, userOf } from "../../lib/import/plan/users.ts";
import { clusterName } from "../support/arbitraries.ts";

const of = (text: string | undefined, noted?: string): V1ConfigMap => ({
  metadata: {
    name: "clustermesh-remote-users",
    ...(noted !== undefined && { annotations: { "clustermesh-secrets/users": noted } }),
  },
  ...(text !== undefined && { data: { "users.yaml": text } }),
});
const usersIn = (text: string | undefined) => (parse(text ?? "", { logLevel: "error" }) as { users: unknown[] }).users;

test("users are added in the form that Cilium reads, in block style", () => {
  const fresh = "users:\n  - name: remote-c2\n    role: remote\n  - name: remote-c3\n    role: remote\n";
  for (const existing of [
    undefined,
    of(undefined),
    of(""),
    of("users: []\n"),
    of("users:\n"),
    of("users: null\n"),
    of("null\n"),
  ]) {
    const merged = mergeUsers(existing, ["c2", "c3"]);
    assert.deepEqual(
      merged,
      { content: fresh, annotation: "c2,c3", granted: ["c2", "c3"], revoked: [] },
      JSON.stringify(existing?.data),
    );
  }
});

test("existing content is kept, including comments", () => {
  const table: [what: string, existing: string, expected: string][] = [
    [
      "the chart's",
      "users:\n- name: remote-own\n  role: remote\n",
      "users:\n  - name: remote-own\n    role: remote\n  - name: remote-c2\n    role: remote\n",
    ],
    [
      "a comment",
      "# by hand\nusers:\n  # who\n- {name: x, role: y} # x\n",
      "# by hand\nusers:\n  # who\n  - {name: x, role: y} # x\n  - name: remote-c2\n    role: remote\n",
    ],
    ["a comment and no user", "# by hand\nusers: []\n", "# by hand\nusers:\n  - name: remote-c2\n    role: remote\n"],
    [
      "other fields",
      "version: 1\nusers:\n  - name: x\n    role: y\n    more: z\n",
      "version: 1\nusers:\n  - name: x\n    role: y\n    more: z\n  - name: remote-c2\n    role: remote\n",
    ],
    ["other fields and no users", "version: 1\n", "version: 1\nusers:\n  - name: remote-c2\n    role: remote\n"],
  ];
  for (const [what, existing, expected] of table) {
    assert.equal(
      mergeUsers(of(existing), ["c2"]).content?.replaceAll("{ name: x, role: y }", "{name: x, role: y}"),
      expected,
      what,
    );
  }
});

test("a list behind an alias is kept too", () => {
  for (const existing of [
    "base: &b\n  - name: remote-own\n    role: remote\nusers: *b\n",
    "users: &b\n- &x {name: remote-own, role: remote}\nmore: *b\n",
  ]) {
    const { content } = mergeUsers(of(existing), ["c2"]);
    assert.deepEqual(
      usersIn(content),
      [
        { name: "remote-own", role: "remote" },
        { name: "remote-c2", role: "remote" },
      ],
      existing,
    );
  }
});

test("an existing user is not added again, with any role", () => {
  const existing = of("users:\n- name: remote-c2\n  role: \n- name: remote-own\n  role: remote\n", "c9");
  assert.deepEqual(mergeUsers(existing, ["c2"]), { content: undefined, annotation: "c9", granted: [], revoked: [] });
  const { content, annotation, granted } = mergeUsers(existing, ["c2", "c3"]);
  assert.deepEqual([granted, annotation], [["c3"], "c3,c9"]);
  assert.deepEqual(usersIn(content), [
    { name: "remote-c2", role: null },
    { name: "remote-own", role: "remote" },
    { name: "remote-c3", role: "remote" },
  ]);
});

test("content that Cilium cannot parse is not overwritten", () => {
  const plain = "users:\n  - name: remote-c2\n    role: remote\n";
  const bad = [
    `${plain}users: []\n`,
    `${plain}---\nusers: []\n`,
    `${plain}  - name: [\n`,
    "users: [",
    "users: x\n",
    "users: {a: b}\n",
    "- name: x\n",
    "text\n",
    "5\n",
    "users: *x\n",
    "users: []\nusers: []\n",
    "users: []\n---\nusers: []\n",
    "a: &a [x]\nusers: [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n",
  ];
  for (const text of bad) assert.throws(() => mergeUsers(of(text), ["c2"]), UsersError, text);
});

test("only remote-<cluster> with the role remote is added, everything else is kept, and a second merge changes nothing", () => {
  const user = fc.record(
    {
      name: fc.oneof(fc.constantFrom("remote-c2", "remote-own", "root"), fc.string()),
      role: fc.oneof(fc.constantFrom("remote", ""), fc.string()),
    },
    { noNullPrototype: true },
  );
  const file = fc.record({ users: fc.array(user), more: fc.jsonValue() }, { requiredKeys: [], noNullPrototype: true });
  const style = fc.constantFrom({}, { collectionStyle: "flow" as const }, { indentSeq: false });
  fc.assert(
    fc.property(file, style, fc.uniqueArray(clusterName, { maxLength: 4 }), (existing, as, clusters) => {
      const text = stringify(existing, as);
      const { content, annotation, granted } = mergeUsers(of(text), clusters);
      const before = existing.users ?? [];
      if (content === undefined)
        return assert.equal(
          clusters.every((name) => before.some((one) => one.name === userOf(name))),
          true,
        );
      const added = granted.map((name) => ({ name: userOf(name), role: "remote" }));
      assert.deepEqual(parse(content), { ...parse(text), users: [...before, ...added] });
      assert.deepEqual(
        granted,
        clusters.filter((name) => !before.some((one) => one.name === userOf(name))),
      );
      const again = mergeUsers(of(content, annotation), clusters);
      assert.deepEqual(again, { content: undefined, annotation, granted: [], revoked: [] });
    }),
  );
});

test("no content crashes the reader", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc
          .array(
            fc.constantFrom(
              "users:",
              " ",
              "\n",
              "- ",
              "name: x",
              "*a",
              "&a",
              "[",
              "]",
              "{",
              "}",
              "role:",
              "<<: ",
              "? ",
            ),
            { maxLength: 12 },
          )
          .map((parts) => parts.join("")),
      ),
      (text) => {
        try {
          const { content } = mergeUsers(of(text), ["c2"]);
          assert.equal(
            usersIn(content ?? text).some((one) => (one as { name?: unknown })?.name === "remote-c2"),
            true,
          );
        } catch (error) {
          assert.ok(error instanceof UsersError, String(error));
        }
      },
    ),
    { numRuns: 300 },
  );
});
