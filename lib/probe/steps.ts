/** Steps of a probe: each is timed and has a timeout; the first failure ends the probe. */

import type { FailureCode } from "../peer/codes/probe-codes.ts";
import type { CertificateFact } from "../x509/expiry.ts";

/** In the order of execution. */
export const STEPS = ["resolve", "tcp", "tls", "client", "user", "heartbeat", "config", "synced"] as const;
export type StepName = (typeof STEPS)[number];

export interface StepResult {
  step: StepName;
  ok: boolean;
  /** Milliseconds. */
  ms: number;
}

/** One address to probe: `host` is the name or address in the endpoint, `ip` the address behind it. */
export interface ProbedAddress {
  endpoint: string;
  host: string;
  port: number;
  ip: string;
}

/** A failed step, from which a finding is made. The message is a predicate of the address ("refuses the connection"). */
export class StepFailure extends Error {
  readonly code: FailureCode;
  readonly remedy: string;
  /** The expired certificate, if that is the cause. */
  readonly certificate: CertificateFact | undefined;

  constructor(code: FailureCode, message: string, remedy: string, certificate?: CertificateFact) {
    super(message);
    this.code = code;
    this.remedy = remedy;
    this.certificate = certificate;
  }
}

/** etcd denied the request. */
export class NotPermitted extends StepFailure {}

/** Runs the steps of a probe in order, each with a timeout, and collects their results. */
export class Steps {
  readonly results: StepResult[] = [];
  readonly #timeout: number;

  /** @param timeout - milliseconds for each step. */
  constructor(timeout: number) {
    this.#timeout = timeout;
  }

  /**
   * Runs one step, and records its result and duration.
   *
   * @param timeoutCode - the code of the failure on timeout.
   * @param work - receives a signal that is aborted on timeout.
   * @throws StepFailure on timeout, and any error of `work`.
   */
  async run<T>(step: StepName, timeoutCode: FailureCode, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    const started = performance.now();
    const record = (ok: boolean) =>
      this.results.push({ step, ok, ms: Math.round((performance.now() - started) * 10) / 10 });
    let timer: NodeJS.Timeout | undefined;
    const timedOut = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(
          new StepFailure(
            timeoutCode,
            `${TIMEOUT_MESSAGES[step] ?? "does not respond"} within ${this.#timeout / 1000}s`,
            TIMEOUT_REMEDIES[step] ?? CHECK_QUORUM,
          ),
        );
        controller.abort();
      }, this.#timeout);
    });
    try {
      const running = work(controller.signal);
      running.catch(() => {});
      const result = await Promise.race([running, timedOut]);
      record(true);
      return result;
    } catch (error) {
      record(false);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Remedies of several failures. */
export const CHECK_NETWORK = "check the host, routes and firewalls between this machine and the address";
export const CHECK_PORT = "check that this is the port of service/clustermesh-apiserver";
export const CHECK_PODS = "check the clustermesh-apiserver pods of that cluster";
export const CHECK_QUORUM = `its etcd may have no quorum: ${CHECK_PODS}`;

const TIMEOUT_MESSAGES: Partial<Record<StepName, string>> = {
  resolve: "cannot be resolved",
  tcp: "does not accept connections",
  tls: "accepts the connection, but does not start TLS",
  client: "does not respond after the TLS handshake",
};

const TIMEOUT_REMEDIES: Partial<Record<StepName, string>> = {
  resolve: "check the DNS servers of this machine",
  tcp: CHECK_NETWORK,
  tls: `${CHECK_PORT}; an etcd without quorum is another possible cause`,
};
