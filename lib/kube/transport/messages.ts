/** Requests, responses, and the connections that carry them. */
import type { Credentials } from "../auth/credentials.ts";
import { ConnectionError } from "./connection-error.ts";

/** A page of 500 nodes is a few megabytes. */
const MAX_BODY_BYTES = 64 * 1_048_576;

export interface Request {
  method: "GET" | "POST" | "PATCH" | "PUT" | "DELETE";
  /** Relative to the root of the API, with the query. */
  path: string;
  body?: string;
  contentType?: string;
  /** Default: `application/json`. */
  accept?: string | undefined;
}

interface ResponseHead {
  status: number;
  headers: Record<string, string | undefined>;
}

export interface Response extends ResponseHead {
  body: string;
}

/** A response whose body arrives over time. It must be read to its end, left early, or aborted by the signal. */
export interface StreamedResponse<Chunk = string> extends ResponseHead {
  /** Can be iterated once; throws if the connection is lost before the end. */
  body: AsyncIterable<Chunk>;
}

export interface Channel {
  protocol: "h2" | "http/1.1";
  /** False once it accepts no more requests. */
  isUsable(): boolean;
  /** Rejects with Node's error, which `isUnprocessed` classifies. */
  send(request: Request, headers: Credentials["headers"], signal: AbortSignal): Promise<Response>;
  /**
   * Resolves once the headers have arrived, and rejects as `send` does. So does the body, unless the signal has aborted: then
   * its error is unspecified.
   *
   * @param request - without a body
   */
  stream(request: Request, headers: Credentials["headers"], signal: AbortSignal): Promise<StreamedResponse<Buffer>>;
  /** Closes the connection once its requests have ended, or once it turns out to be dead. It gets no more requests. */
  retire(): void;
}

/** Pings on connections with open streams, which detect that the peer is gone. HTTP/2 only. */
export interface PingOptions {
  /** Milliseconds without any data after which a ping is sent. */
  interval: number;
  /** Milliseconds without any data after a ping after which the connection is closed. */
  timeout: number;
}

/** Collects the body of a response. */
export class Body {
  readonly #chunks: Buffer[] = [];
  #size = 0;

  /** Adds a chunk; returns an error if the body has become too large. */
  add(chunk: Buffer): ConnectionError | undefined {
    this.#size += chunk.length;
    if (this.#size > MAX_BODY_BYTES) {
      this.#chunks.length = 0;
      return new ConnectionError(`response exceeds ${MAX_BODY_BYTES / 1_048_576} MiB`);
    }
    this.#chunks.push(chunk);
    return undefined;
  }

  /** Yields what was added. */
  async *chunks(): AsyncGenerator<Buffer, void> {
    yield* this.#chunks;
  }

  toString(): string {
    return Buffer.concat(this.#chunks).toString();
  }
}
