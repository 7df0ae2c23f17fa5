import assert from "node:assert/strict";
import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { test } from "node:test";
import { connect as connectTls } from "node:tls";
import { getSystemErrorMap } from "node:util";
import { describeNetworkError, describeNetworkMessage } from "../../lib/util/network-error.ts";

const RAW = /\b(?:E[A-Z0-9]{2,}|ERR_\w+|[A-Z]+(?:_[A-Z]+)+)\b/;

test("connection errors are described without codes, system calls and addresses", async () => {
  const server = createServer((socket) => socket.on("error", () => {}).end("220 mail.example ESMTP\r\n"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const errorOf = async (work: Promise<unknown>) =>
    work.then(
      () => assert.fail("no error"),
      (error) => error,
    );
  const failed = (socket: ReturnType<typeof connect>) => errorOf(once(socket, "connect"));
  try {
    const table: [error: NodeJS.ErrnoException, description: string][] = [
      [await failed(connect(1, "127.0.0.1")), "connection refused"],
      [await errorOf(lookup("nowhere.invalid")), "no such host"],
      [
        await errorOf(once(connectTls(port, "127.0.0.1"), "secureConnect")),
        "first record does not look like a TLS handshake",
      ],
    ];
    for (const [error, description] of table) assert.equal(describeNetworkError(error), description, error.code);
  } finally {
    server.close();
  }
});

test("each code of the system, OpenSSL and Node is described", () => {
  for (const [errno, [code]] of getSystemErrorMap()) {
    assert.doesNotMatch(describeNetworkError(Object.assign(new Error(code), { code, errno })), RAW, code);
  }
  const table: [error: { code?: string; message: string; reason?: string }, description: string][] = [
    [{ code: "UNABLE_TO_GET_ISSUER_CERT_LOCALLY", message: "" }, "certificate signed by unknown authority"],
    [{ code: "DEPTH_ZERO_SELF_SIGNED_CERT", message: "" }, "self-signed certificate"],
    [{ code: "UNABLE_TO_GET_CRL", message: "" }, "unable to get crl"],
    [{ code: "ERR_SSL_NO_PROTOCOLS_AVAILABLE", message: "80BC:error" }, "no protocols available"],
    [{ code: "ERR_SSL_X", message: "80BC:error", reason: "tlsv1 alert" }, "tlsv1 alert"],
    [{ code: "ERR_HTTP2_ERROR", message: "Protocol error" }, "Protocol error"],
    [{ code: "ECONNRESET", message: "socket hang up" }, "connection reset by peer"],
    [{ code: "ENETUNREACH", message: "connect ENETUNREACH ::1:1" }, "network is unreachable"],
    [{ message: "given up" }, "given up"],
  ];
  for (const [error, description] of table) assert.equal(describeNetworkError(error), description);
});

test("the message of a library is unchanged, unless it contains a system error code", () => {
  const table: [message: string, description: string][] = [
    ["No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:2379", "connection refused"],
    ["read ECONNRESET", "connection reset by peer"],
    ["etcdserver: no leader", "etcdserver: no leader"],
    ["EXAMPLE of an EVENT", "EXAMPLE of an EVENT"],
    ["", "no reason given"],
  ];
  for (const [message, description] of table) assert.equal(describeNetworkMessage(message), description);
});
