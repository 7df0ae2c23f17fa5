import assert from "node:assert/strict";
import { test } from "node:test";
import { isLoopbackAddress, isNodeLocal, isPartlyNodeLocal } from "../../lib/peer/node-local.ts";

test("a peer is node-local if the host of every endpoint is a loopback address, in any spelling", () => {
  const yes = [
    "https://127.0.0.1:12379",
    "https://127.255.255.254:2379/",
    "http://127.0.0.1:2379",
    "https://127.1:2379",
    "https://0x7f.1:2379",
    "https://0177.0.0.1:2379",
    "https://2130706433:2379",
    "https://127.0.0.1.:2379",
    "https://%31%32%37.0.0.1:2379",
    "https://user@127.0.0.1:2379/path",
    "https://[::1]:2379",
    "https://[0:0:0:0:0:0:0:1]:2379",
    "https://[::1%25lo]:2379",
    "https://[::ffff:127.0.0.1]:2379",
    "https://[::FFFF:7f00:1]:2379",
    "https://localhost:2379",
    "https://LocalHost.:2379",
    "127.0.0.1:2379",
    "[::1]:2379",
    "localhost:2379",
  ];
  for (const url of yes) assert.equal(isNodeLocal([url]), true, url);
  assert.equal(isNodeLocal(yes), true);
  const no = [
    "https://c2.mesh.cilium.io:2379",
    "https://127.example.com:2379",
    "https://127.0.0.1.nip.io:2379",
    "https://localhost.example.com:2379",
    "https://db.localhost:2379",
    "https://128.0.0.1:2379",
    "https://10.127.0.1:2379",
    "https://0.0.0.0:2379",
    "https://[::]:2379",
    "https://[::2]:2379",
    "https://[::ffff:10.0.0.1]:2379",
    "https://[::ffff:8000:1]:2379",
    "https://",
    "",
    "nonsense://[",
  ];
  for (const url of no) {
    assert.equal(isNodeLocal([url]), false, url);
    assert.equal(isNodeLocal(["https://127.0.0.1:1", url]), false, `127.0.0.1 and ${url}`);
    assert.equal(isPartlyNodeLocal(["https://127.0.0.1:1", url]), true, `127.0.0.1 and ${url}`);
  }
  assert.equal(isNodeLocal([]), false, "no endpoints are not node-local");
  assert.equal(isPartlyNodeLocal(no), false);
  assert.equal(isPartlyNodeLocal(yes), false);
});

test("loopback addresses without a URL around them", () => {
  for (const ip of ["127.0.0.1", "127.18.2.3", "::1", "0:0::1", "::ffff:127.0.0.1"])
    assert.equal(isLoopbackAddress(ip), true, ip);
  for (const ip of ["10.0.0.1", "fd00::1", "::", "localhost", "c2.mesh.cilium.io", "::ffff:10.0.0.1", ""])
    assert.equal(isLoopbackAddress(ip), false, ip);
});
