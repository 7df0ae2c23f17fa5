/** Codes for the CA and the client certificate of a peer. */
import type { IssuerProblem, Purpose } from "../../x509/chain.ts";
import { type CertificateUse, formatDays } from "../../x509/expiry.ts";
import { error, inParentheses, RE_EXTRACT, warning } from "./code.ts";

const REISSUE = "reissue the certificate in the peer's cluster, then re-extract the peer";

/** The names of certificates in messages. */
const CERTIFICATE_NAMES: Record<CertificateUse, string> = {
  client: "client certificate",
  server: "server certificate",
  ca: "CA",
};

/** The validity of a certificate that has expired or is not valid yet. Dates are `YYYY-MM-DD`. */
export type Invalidity = { use: CertificateUse } & ({ expires: string } | { validFrom: string });

/** A certificate that expires soon. */
export interface Expiring {
  use: CertificateUse;
  /** Days until expiry. */
  daysLeft: number;
  /** The expiry date, `YYYY-MM-DD`. */
  expires: string;
  /** The subject, for a CA. */
  subject?: string;
  /** Set if it is an intermediate CA of the client certificate. */
  isIntermediate?: true;
}

/** Why certificates of an issuer are rejected. */
export interface IssuerFlaw {
  /** Whether it is a certificate of the CA file, or an issuer of the client certificate. */
  position: "ca-file" | "issuer";
  subject: string;
  flaw: IssuerProblem;
  purpose: Purpose;
  /** The first and last day of its validity, `YYYY-MM-DD`. */
  validFrom: string;
  expires: string;
}

/** An issuer must be replaced in its cluster; for other certificates, a newer file may exist. */
const reissueOrExtract = (values: object) => ("flaw" in values ? REISSUE : RE_EXTRACT);

export const CERTIFICATE_CODES = {
  "ca-empty": error({
    traits: ["unprobeable"],
    message: "the CA file contains no certificate, so no server certificate can be verified",
    remedy: `${RE_EXTRACT} (charts up to 1.13 leave the CA empty unless clustermesh.apiserver.tls.ca.cert is set)`,
    summary: (of) => `CA files of ${of} contain no certificate`,
  }),
  "ca-invalid": error<{ problem: string } | IssuerFlaw>({
    traits: ["unprobeable"],
    message: (values) => ("flaw" in values ? describeIssuerFlaw(values) : `the CA file ${values.problem}`),
    remedy: reissueOrExtract,
    each: true,
    summary: (of) => `CAs of ${of} are invalid`,
  }),
  "ca-expired": error<Invalidity | IssuerFlaw>({
    traits: ["disprovable"],
    message: describeInvalidity,
    remedy: reissueOrExtract,
    summary: (of) => `CAs of ${of} have expired`,
  }),
  "certificate-invalid": error<{ problem: string; isExternalWorkloads?: true }>({
    traits: ["unprobeable"],
    message: ({ problem, isExternalWorkloads }) =>
      `the ${isExternalWorkloads ? "certificate of external workloads" : "client certificate"} ${problem}`,
    remedy: RE_EXTRACT,
    each: true,
    summary: (of) => `client certificates of ${of} are invalid`,
  }),
  "certificate-expired": error<Invalidity | IssuerFlaw>({
    message: describeInvalidity,
    remedy: reissueOrExtract,
    summary: (of) => `client certificates of ${of} have expired`,
  }),
  "certificate-not-yet-valid": error<Invalidity | IssuerFlaw>({
    message: describeInvalidity,
    remedy: "check the clocks of this machine and of the peer's cluster",
    summary: (of) => `certificates of ${of} are not valid yet`,
  }),
  "certificate-expires": warning<Expiring>({
    message: describeExpiring,
    each: true,
    summary: (of) => `client certificates of ${of} expire soon`,
  }),
  "ca-expires": warning<Expiring>({
    message: describeExpiring,
    each: true,
    summary: (of) => `CAs of ${of} expire soon`,
  }),
  "server-certificate-expires": warning<Expiring>({
    message: describeExpiring,
    each: true,
    summary: (of) => `server certificates of ${of} expire soon`,
  }),
  "certificate-not-signed": error<{ flaw?: never } | IssuerFlaw>({
    traits: ["disprovable"],
    message: (values) =>
      values.flaw === undefined
        ? "the client certificate is not signed by the peer's CA, so its etcd would reject it"
        : describeIssuerFlaw(values),
    remedy: ({ flaw }) => (flaw === undefined ? "re-extract the peer; its CA may have changed" : REISSUE),
    summary: (of) => `client certificates of ${of} are not signed by the CAs of these peers`,
  }),
  "certificate-usage": error<({ flaw?: never } | IssuerFlaw) & { usage: string }>({
    traits: ["disprovable"],
    message: (values) =>
      values.flaw === undefined
        ? `the client certificate is not valid for clients: its extended key usage lacks ${values.usage}`
        : describeIssuerFlaw(values),
    remedy: REISSUE,
    by: ({ usage }) => ({ usage }),
    summary: (of, { usage }) => `certificates of ${of} lack the required extended key usage${inParentheses(usage)}`,
  }),
  "no-common-name": error({
    traits: ["disprovable"],
    message: "the client certificate has no common name, so it matches no etcd user",
    remedy: REISSUE,
    summary: (of) => `client certificates of ${of} have no common name`,
  }),
  "key-invalid": error<{ problem: string }>({
    traits: ["unprobeable"],
    message: ({ problem }) => `the key file ${problem}`,
    remedy: RE_EXTRACT,
    each: true,
    summary: (of) => `private keys of ${of} are invalid`,
  }),
  "key-mismatch": error({
    traits: ["unprobeable"],
    message: "the private key does not match the client certificate",
    remedy: RE_EXTRACT,
    summary: (of) => `private keys of ${of} do not match their client certificates`,
  }),
  "chain-order": error({
    traits: ["unprobeable"],
    message: "the client certificate is not the first certificate in its file",
    remedy: "put the client certificate first in its file, followed by its intermediate CAs",
    summary: (of) => `client certificates of ${of} are not first in their files`,
  }),
} as const;

/** Describes why a certificate is not valid at present. */
export function describeInvalidity(values: Invalidity | IssuerFlaw): string {
  if ("flaw" in values) return describeIssuerFlaw(values);
  const name = CERTIFICATE_NAMES[values.use];
  return "expires" in values
    ? `the ${name} expired on ${values.expires}`
    : `the ${name} is not valid before ${values.validFrom}`;
}

function describeExpiring({ use, subject, daysLeft, expires, isIntermediate }: Expiring): string {
  const time = `in ${formatDays(daysLeft)}, on ${expires}`;
  if (isIntermediate) return `the client certificate is issued by ${subject}, which expires ${time}`;
  return `the ${CERTIFICATE_NAMES[use]}${subject === undefined ? "" : ` ${subject}`} expires ${time}`;
}

function describeIssuerFlaw({ position, subject, flaw, purpose, validFrom, expires }: IssuerFlaw): string {
  const flaws: Record<IssuerProblem, string> = {
    expired: `expired on ${expires}`,
    "not-yet-valid": `is not valid before ${validFrom}`,
    "no-ca": "is not a CA, or its key usage lacks keyCertSign",
    usage: `cannot issue certificates for ${purpose}s: its extended key usage lacks ${purpose}Auth`,
  };
  const place = position === "ca-file" ? "the CA file contains" : "the client certificate is issued by";
  return `${place} ${subject}, which ${flaws[flaw]}`;
}
