/** The relay itself: a test that cannot end it never ends. */
import assert from "node:assert/strict";
import { connect } from "node:http2";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startApi } from "../../lib/sandbox/server.ts";
import { createRandom, type Random } from "./random.ts";
import { type Fault, type Relay, startRelay } from "./relay.ts";

const FAULTS: Fault[] = ["reset", "reset after", "truncated", "slow", 429];
const LIST = "/api/v1/namespaces/default/configmaps";
/** Without an end of the sockets, one of about ten stops waited for ever. */
const STOPS = 20;

test("a relay stops whatever its faults, while clients connect again and again", async (t) => {
  const random = createRandom(1);
  const api = await startApi();
  t.after(() => api.stop());
  const data = { text: "x".repeat(300_000) };
  api.store.put({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "large", namespace: "default" }, data });
  for (let stop = 0; stop < STOPS; stop++) {
    const relay = await startRelay({ url: api.url, ca: api.ca.cert });
    const stopped = new AbortController();
    const clients = [1, 2].map(() => keepConnecting(relay, random, stopped.signal, api.token));
    for (let fault = 0; fault < 4; fault++) {
      random.pick([
        () => relay.cut(),
        () => relay.cutWatches(),
        () => relay.leave("refused"),
        () => relay.leave("silent"),
        () => {
          relay.onRequest = () => (random.below(3) === 0 ? random.pick(FAULTS) : undefined);
        },
      ])();
      await sleep(random.below(40));
      if (random.below(3) > 0) await relay.mend();
    }
    await relay.stop();
    stopped.abort();
    await Promise.all(clients);
    await assert.rejects(fetch(relay.url));
  }
});

/** Lists and watches on one connection after the other. */
async function keepConnecting(relay: Relay, random: Random, stopped: AbortSignal, token: string): Promise<void> {
  while (!stopped.aborted) {
    const session = connect(relay.url, { ca: relay.ca.cert }).on("error", () => {});
    for (const path of [LIST, LIST, LIST, `${LIST}?watch=true`]) {
      const headers = { ":path": path, authorization: `Bearer ${token}` };
      session
        .request(headers)
        .on("error", () => {})
        .resume()
        .end();
    }
    await sleep(20 + random.below(60));
    session.destroy();
  }
}
