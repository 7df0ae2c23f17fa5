/** HTTPS clients of the API servers that the contract compares. */
import type { IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { createInterface } from "node:readline";
import type { Answer, Server, WatchStream } from "./contract.ts";

/**
 * Returns a client of an API. Strings are sent verbatim, other bodies as JSON.
 *
 * @param compact - removes the history before a version from the server
 */
export function clientOf(
  url: string,
  ca: string,
  token: string,
  compact: (version: string) => void | Promise<void>,
): Server {
  const send = (method: string, path: string, body?: unknown, contentType?: string, headers?: object) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const text = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
      const all: Record<string, string> = {
        authorization: `Bearer ${token}`,
        accept: "application/json",
        ...(text !== undefined && {
          "content-type": contentType ?? "application/json",
          // Without it, Node sends no body with DELETE.
          "content-length": String(Buffer.byteLength(text)),
        }),
        ...headers,
      };
      if (all.authorization === "") delete all.authorization;
      const request = httpsRequest(new URL(path, url), { method, ca, headers: all }, resolve);
      request.on("error", reject);
      request.end(text);
    });
  return {
    async request(...args) {
      const response = await send(...args);
      const answer = Buffer.concat(await response.toArray()).toString();
      const json = response.headers["content-type"]?.startsWith("application/json");
      const { warning } = response.headers;
      return { status: response.statusCode ?? 0, body: json ? JSON.parse(answer) : answer, warning } satisfies Answer;
    },
    async watch(path, headers): Promise<WatchStream> {
      const response = await send("GET", path, undefined, undefined, headers);
      const lines = createInterface({ input: response })[Symbol.asyncIterator]();
      return {
        status: response.statusCode ?? 0,
        contentType: response.headers["content-type"],
        async next() {
          const { value, done } = await lines.next();
          return done ? undefined : JSON.parse(value);
        },
        close: () => response.destroy(),
      };
    },
    compact: async (version) => compact(version),
  };
}
