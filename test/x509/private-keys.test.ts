/** Recognition of texts that may contain a private key. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { mayContainPrivateKey } from "../../lib/x509/pem.ts";
import { caOf, clientOf } from "../support/material.ts";

const { cert, key } = clientOf(caOf("a"));
const encode = (text: string | Buffer) => Buffer.from(text).toString("base64");

test("a private key is recognized in PEM, and in base64 at every offset, however it is folded", () => {
  for (const text of [
    key,
    JSON.stringify({ key }),
    JSON.stringify(JSON.stringify({ key })),
    key.replace(/\n/g, "\r\n"),
  ]) {
    assert.ok(mayContainPrivateKey(text), text.slice(0, 30));
  }
  for (let shift = 0; shift < 64; shift++) {
    const encoded = encode(" ".repeat(shift) + key);
    const folded = encoded.replace(/.{64}/g, "$&\n  ");
    for (const text of [encoded, folded, JSON.stringify({ "tls.key": folded })]) assert.ok(mayContainPrivateKey(text));
  }
});

test("compressed data in base64 may contain a private key", () => {
  const encoded = encode(gzipSync(key));
  assert.ok(mayContainPrivateKey(encoded));
  assert.ok(mayContainPrivateKey(JSON.stringify({ "objectset.rio.cattle.io/applied": encoded })));
});

test("certificates and other texts contain no private key", () => {
  for (const text of ["", cert, encode(cert), encode(` ${cert}`), "a private key", "endpoints:\n- https://c2:2379\n"]) {
    assert.equal(mayContainPrivateKey(text), false, text.slice(0, 30));
  }
});
