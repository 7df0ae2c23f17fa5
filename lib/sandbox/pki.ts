/**
 * Certificates for embedded clusters and for tests. node-forge encodes the ASN.1, node:crypto generates keys and signs:
 * node-forge does not support elliptic curves.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from "node:crypto";
import { isIPv4, isIPv6 } from "node:net";
import forge from "node-forge";

const { asn1 } = forge;
type Asn1 = forge.asn1.Asn1;

/** Missing in `@types/node-forge`. */
const { certificateExtensionsToAsn1 } = forge.pki as unknown as {
  certificateExtensionsToAsn1(extensions: object[]): Asn1;
};

/** A certificate authority. */
export interface Issuer {
  /** PEM of the CA certificate. */
  cert: string;
  /** PEM of the intermediate certificates below the root; empty for a root. */
  chain: string;
  /** PEM of the private key. */
  key: string;
}

/** RSA with 2048 bits, or ECDSA on P-256. */
export type KeyType = "rsa" | "ec";

/** Extended key usage; `none` omits the extension. */
export type Usage = "server" | "client" | "any" | "none";

interface CommonOptions {
  /** Common name; empty for an empty subject. */
  cn: string;
  /** Type of the new key. Default: `ec`. */
  key?: KeyType;
  /** PEM of an existing private key. Generating an RSA key takes about 100 ms. */
  privateKey?: string;
  /** PEM form of the key: PKCS#8 (default), or PKCS#1 for RSA and SEC1 for EC, as the Helm charts write them. */
  keyFormat?: "pkcs8" | "traditional";
  /** Default: one hour ago. */
  notBefore?: Date;
  /** Default: in three years, as in the Helm charts. */
  notAfter?: Date;
}

export interface CaOptions extends CommonOptions {
  /** The parent of an intermediate CA. */
  issuer?: Issuer;
  /** Default: `none`. */
  usage?: Usage;
  /** Defect of the certificate: `cA` is false, key usage lacks keyCertSign, or the version is X.509 v1. */
  flaw?: "no-ca" | "no-cert-sign" | "v1";
  /** Subject key identifier. Default: SHA-1 of the public key (RFC 5280, 4.2.1.2). */
  keyId?: string;
}

export interface LeafOptions extends CommonOptions {
  /** DNS subject alternative names. */
  dns?: string[];
  /** IPv4 and IPv6 subject alternative names. */
  ips?: string[];
  usage: Usage;
}

const HOUR = 3_600_000;

/** Creates a self-signed root CA or, with an `issuer`, an intermediate CA. */
export function makeCa(options: CaOptions): Issuer {
  const { issuer, flaw, usage = "none", keyId } = options;
  const extensions = (publicKey: KeyObject) => [
    { name: "basicConstraints", critical: true, cA: flaw !== "no-ca" },
    { name: "keyUsage", critical: true, keyCertSign: flaw !== "no-cert-sign", cRLSign: true },
    ...extendedKeyUsage(usage),
    subjectKeyIdentifier(keyId ?? keyIdentifier(publicKey)),
  ];
  const { cert, key } = createCertificate(issuer, options, flaw === "v1" ? undefined : extensions);
  return { cert, key, chain: issuer ? cert + issuer.chain : "" };
}

/**
 * Issues a server or client certificate.
 *
 * @returns PEM of the key and of the certificate, followed by the intermediate CAs.
 * @throws TypeError if an entry of `ips` is not an IP address.
 */
export function issue(issuer: Issuer, options: LeafOptions): { cert: string; key: string } {
  const { dns = [], ips = [], usage } = options;
  const altNames = [
    ...dns.map((value) => ({ type: 2, value })),
    ...ips.map((ip) => ({ type: 7, ip: normalizeIp(ip) })),
  ];
  const { cert, key } = createCertificate(issuer, options, (publicKey) => [
    { name: "basicConstraints", critical: true },
    { name: "keyUsage", critical: true, digitalSignature: true, keyEncipherment: options.key === "rsa" },
    ...extendedKeyUsage(usage),
    subjectKeyIdentifier(keyIdentifier(publicKey)),
    ...(altNames.length > 0 ? [{ name: "subjectAltName", altNames }] : []),
  ]);
  return { cert: cert + issuer.chain, key };
}

const PURPOSES = { server: "serverAuth", client: "clientAuth", any: "2.5.29.37.0" };

function extendedKeyUsage(usage: Usage): object[] {
  return usage === "none" ? [] : [{ name: "extKeyUsage", [PURPOSES[usage]]: true }];
}

function subjectKeyIdentifier(identifier: string): object {
  return { name: "subjectKeyIdentifier", value: primitive(asn1.Type.OCTETSTRING, identifier) };
}

/** Creates a certificate: self-signed without an issuer, X.509 v1 without extensions. */
function createCertificate(
  issuer: Issuer | undefined,
  options: CommonOptions,
  extensions: ((publicKey: KeyObject) => object[]) | undefined,
): { cert: string; key: string } {
  const privateKey = options.privateKey ? createPrivateKey(options.privateKey) : generateKey(options.key ?? "ec");
  const publicKey = createPublicKey(privateKey);
  const signingKey = issuer ? createPrivateKey(issuer.key) : privateKey;
  const algorithm = signatureAlgorithm(signingKey);
  const subject = encodeName(options.cn);
  const template = forge.pki.createCertificate();
  const keyId = keyIdentifier(createPublicKey(signingKey));
  template.setExtensions([
    ...(extensions?.(publicKey) ?? []),
    { name: "authorityKeyIdentifier", keyIdentifier: keyId },
  ]);
  const tbs = sequence(
    ...(extensions ? [asn1.create(asn1.Class.CONTEXT_SPECIFIC, 0, true, [primitive(asn1.Type.INTEGER, "\x02")])] : []),
    primitive(asn1.Type.INTEGER, randomSerialNumber()),
    algorithm,
    issuer ? subjectOf(issuer) : subject,
    sequence(
      encodeTime(options.notBefore ?? new Date(Date.now() - HOUR)),
      encodeTime(options.notAfter ?? new Date(Date.now() + 1095 * 24 * HOUR)),
    ),
    subject,
    parseDer(publicKey.export({ type: "spki", format: "der" })),
    ...(extensions ? [certificateExtensionsToAsn1(template.extensions)] : []),
  );
  const signature = sign("sha256", encodeDer(tbs), signingKey).toString("binary");
  const der = encodeDer(sequence(tbs, algorithm, primitive(asn1.Type.BITSTRING, `\0${signature}`)));
  const traditional = privateKey.asymmetricKeyType === "rsa" ? "pkcs1" : "sec1";
  const type = options.keyFormat === "traditional" ? traditional : "pkcs8";
  return {
    cert: new X509Certificate(der).toString(),
    key: privateKey.export({ type, format: "pem" } as { type: "pkcs8"; format: "pem" }).toString(),
  };
}

function generateKey(type: KeyType): KeyObject {
  const pair =
    type === "rsa"
      ? generateKeyPairSync("rsa", { modulusLength: 2048 })
      : generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  return pair.privateKey;
}

/** Returns sha256WithRSAEncryption or ecdsa-with-SHA256. */
function signatureAlgorithm(key: KeyObject): Asn1 {
  return key.asymmetricKeyType === "rsa"
    ? sequence(objectId("1.2.840.113549.1.1.11"), primitive(asn1.Type.NULL, ""))
    : sequence(objectId("1.2.840.10045.4.3.2"));
}

/** Returns the SHA-1 of the public key's bits (RFC 5280, 4.2.1.2). */
function keyIdentifier(publicKey: KeyObject): string {
  const [, bits] = parseDer(publicKey.export({ type: "spki", format: "der" })).value as [Asn1, Asn1];
  const bytes = Buffer.from((bits.value as string).slice(1), "binary");
  return createHash("sha1").update(bytes).digest("binary");
}

/** Returns the subject of a CA, byte for byte: verifiers compare it with the issuer of the certificates it signed. */
function subjectOf(ca: Issuer): Asn1 {
  const [tbs] = parseDer(new X509Certificate(ca.cert).raw).value as [Asn1];
  const fields = tbs.value as Asn1[];
  // X.509 v1 has neither a version nor extensions.
  return fields[fields.length === 6 ? 4 : 5] as Asn1;
}

function encodeName(commonName: string): Asn1 {
  // The type of distinguishedNameToAsn1 declares the value's tag as a class.
  const valueTagClass = asn1.Type.UTF8 as unknown as forge.asn1.Class;
  const attributes = commonName === "" ? [] : [{ type: "2.5.4.3", valueTagClass, value: commonName }];
  return forge.pki.distinguishedNameToAsn1({ attributes });
}

/** Returns 16 random bytes that encode a positive integer in its shortest form. */
function randomSerialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] as number) & 0x3f) | 0x40;
  return bytes.toString("binary");
}

/** Encodes the years 1950 to 2049 as UTCTime, others as GeneralizedTime (RFC 5280, 4.1.2.5). */
function encodeTime(date: Date): Asn1 {
  const digits = `${date.toISOString().replace(/\.\d+|\D/g, "")}Z`;
  const year = date.getUTCFullYear();
  return year >= 1950 && year < 2050
    ? primitive(asn1.Type.UTCTIME, digits.slice(2))
    : primitive(asn1.Type.GENERALIZEDTIME, digits);
}

/** Returns an address in the form that node-forge reads: IPv6 in hexadecimal groups alone. */
function normalizeIp(ip: string): string {
  if (isIPv4(ip)) return ip;
  if (!isIPv6(ip) || ip.includes("%")) throw new TypeError(`not an IP address: ${ip}`);
  return new URL(`http://[${ip}]`).hostname.slice(1, -1);
}

function sequence(...values: Asn1[]): Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, values);
}

function primitive(type: forge.asn1.Type, bytes: string): Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, type, false, bytes);
}

function objectId(id: string): Asn1 {
  return primitive(asn1.Type.OID, asn1.oidToDer(id).getBytes());
}

function encodeDer(value: Asn1): Buffer {
  return Buffer.from(asn1.toDer(value).getBytes(), "binary");
}

/** Parses DER so that it encodes to the same bytes: bit strings are not decoded. */
function parseDer(der: Buffer): Asn1 {
  const options = { strict: true, parseAllBytes: true, decodeBitStrings: false };
  return asn1.fromDer(der.toString("binary"), options as unknown as boolean);
}
