/** The steps of a check: each timed, with a limit, and the first that fails ends it. */

import type { FindingCode } from "../peer/finding-codes.ts";
import type { CertificateFact } from "../x509/expiry.ts";

/** In their order. */
export const STEPS = ["resolve", "tcp", "tls", "client", "user", "heartbeat", "config", "synced"] as const;
export type StepName = (typeof STEPS)[number];

export interface StepResult {
  step: StepName;
  ok: boolean;
  /** Milliseconds. */
  ms: number;
}

/** One address to try: the name or address that the endpoint says, and what it stands for. */
export interface ProbedAddress {
  endpoint: string;
  host: string;
  port: number;
  ip: string;
}

/** Why a step failed: the finding that comes of it. The message is what the address does ("refuses the connection"). */
export class StepFailure extends Error {
  readonly code: FindingCode;
  readonly remedy: string;
  /** The certificate that has expired, if that is why. */
  readonly certificate: CertificateFact | undefined;

  constructor(code: FindingCode, message: string, remedy: string, certificate?: CertificateFact) {
    super(message);
    this.code = code;
    this.remedy = remedy;
    this.certificate = certificate;
  }
}

/** The etcd does not permit what was asked. */
export class NotPermitted extends StepFailure {}

export class Steps {
  readonly results: StepResult[] = [];
  readonly #timeout: number;

  /** @param timeout of each step, in milliseconds. */
  constructor(timeout: number) {
    this.#timeout = timeout;
  }

  /**
   * Does one step.
   *
   * @param silent the code of the finding where it takes longer than it may.
   * @throws Failed
   */
  async run<T>(step: StepName, silent: FindingCode, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const limit = new AbortController();
    const started = performance.now();
    const done = (ok: boolean) =>
      this.results.push({ step, ok, ms: Math.round((performance.now() - started) * 10) / 10 });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(
          new StepFailure(
            silent,
            `${TIMEOUT_MESSAGES[step] ?? "does not answer"} within ${this.#timeout / 1000} s`,
            TIMEOUT_REMEDIES[step] ?? CHECK_QUORUM,
          ),
        );
        limit.abort();
      }, this.#timeout);
    });
    try {
      const working = work(limit.signal);
      working.catch(() => {});
      const result = await Promise.race([working, late]);
      done(true);
      return result;
    } catch (error) {
      done(false);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}

const TIMEOUT_MESSAGES: Partial<Record<StepName, string>> = {
  resolve: "is not resolved",
  tcp: "takes no connection",
  tls: "takes the connection, but says nothing in TLS",
  client: "says nothing after TLS",
};

const TIMEOUT_REMEDIES: Partial<Record<StepName, string>> = {
  resolve: "is there a DNS server that answers?",
  tcp: "a firewall that drops, or no such host: is there a way from here to that address and port?",
  tls: "something else listens there, or an etcd that waits for its members: is it the port of Service clustermesh-apiserver?",
};

const CHECK_QUORUM = "has its etcd a quorum? look at the pods of the clustermesh-apiserver there";
