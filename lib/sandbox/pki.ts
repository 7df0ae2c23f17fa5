/**
 * Certificates for embedded clusters and for tests. node-forge writes the ASN.1 and node:crypto makes keys and
 * signatures, since forge's own certificates know no elliptic curves.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from "node:crypto";
import { isIPv4, isIPv6 } from "node:net";
import forge from "node-forge";

const { asn1 } = forge;
type Asn1 = forge.asn1.Asn1;

/** A certificate authority: its own certificate, the chain up to the root, and its key. */
export interface Issuer {
  /** PEM of this CA's certificate alone. */
  cert: string;
  /** PEM of the certificates that a leaf of this CA has to be served with; empty for a root. */
  chain: string;
  /** PEM of the private key. */
  key: string;
}

/** RSA with 2048 bits, or ECDSA on P-256. */
export type KeyType = "rsa" | "ec";

/** What the extended key usage lists; `none` leaves it out. */
export type Usage = "server" | "client" | "any" | "none";

interface Common {
  /** Common name of the subject, which is empty where this is. */
  cn: string;
  /** Type of the new key; `"ec"` by default, which is made in a millisecond. */
  key?: KeyType;
  /** PEM of a private key of that type, instead of a new one: RSA keys take a tenth of a second each. */
  privateKey?: string;
  /** PEM form of the key: PKCS#8 (default), or PKCS#1 for RSA and SEC1 for EC, as the Helm charts write them. */
  keyFormat?: "pkcs8" | "traditional";
  /** Default: an hour ago. */
  notBefore?: Date;
  /** Default: three years from now, as in the Helm charts. */
  notAfter?: Date;
}

export interface CaOptions extends Common {
  /** The CA above; makes an intermediate CA. */
  issuer?: Issuer;
  /** Default: `none`. */
  usage?: Usage;
  /** Something that is wrong with it: it says that it is no CA, its key usage has no keyCertSign, or it has X.509 v1. */
  flaw?: "no-ca" | "no-cert-sign" | "v1";
  /** Subject key identifier; default: as RFC 5280 says. */
  keyId?: string;
}

export interface LeafOptions extends Common {
  /** DNS names that the certificate covers. */
  dns?: string[];
  /** IPv4 and IPv6 addresses that it covers. */
  ips?: string[];
  usage: Usage;
}

const HOUR = 3_600_000;

/** Makes a root CA or, with an `issuer`, an intermediate one. */
export function makeCa(options: CaOptions): Issuer {
  const { issuer, flaw, usage = "none", keyId } = options;
  const isCa = flaw === "no-ca" ? [] : [primitive(asn1.Type.BOOLEAN, "\xff")];
  // keyCertSign and cRLSign, or the latter alone
  const keyUsage = flaw === "no-cert-sign" ? "\x01\x02" : "\x01\x06";
  const extensions = (publicKey: KeyObject) => [
    extension("2.5.29.19", true, sequence(...isCa)),
    extension("2.5.29.15", true, primitive(asn1.Type.BITSTRING, keyUsage)),
    ...extendedUsage(usage),
    extension("2.5.29.14", false, primitive(asn1.Type.OCTETSTRING, keyId ?? keyIdentifier(publicKey))),
  ];
  const { cert, key } = certificate(issuer, options, flaw === "v1" ? undefined : extensions);
  return { cert, key, chain: options.issuer ? cert + options.issuer.chain : "" };
}

/**
 * Issues a certificate for a server or a client.
 *
 * @returns PEM of certificate and key; the certificate is followed by the intermediate CAs it was issued by.
 * @throws TypeError where an entry of `ips` is no address
 */
export function issue(issuer: Issuer, options: LeafOptions): { cert: string; key: string } {
  const { cert, key } = certificate(issuer, options, (publicKey) => {
    const names = [
      ...(options.dns ?? []).map((name) => contextual(2, name)),
      ...(options.ips ?? []).map((ip) => contextual(7, addressBytes(ip))),
    ];
    // digitalSignature, and keyEncipherment for RSA
    const usage = options.key === "rsa" ? "\x05\xa0" : "\x07\x80";
    return [
      extension("2.5.29.19", true, sequence()),
      extension("2.5.29.15", true, primitive(asn1.Type.BITSTRING, usage)),
      ...extendedUsage(options.usage),
      extension("2.5.29.14", false, primitive(asn1.Type.OCTETSTRING, keyIdentifier(publicKey))),
      ...(names.length > 0 ? [extension("2.5.29.17", false, sequence(...names))] : []),
    ];
  });
  return { cert: cert + issuer.chain, key };
}

const PURPOSES = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2", any: "2.5.29.37.0" };

function extendedUsage(usage: Usage): Asn1[] {
  return usage === "none" ? [] : [extension("2.5.29.37", false, sequence(objectId(PURPOSES[usage])))];
}

/** Without an issuer the certificate signs itself, and without extensions it is one of X.509 v1. */
function certificate(
  issuer: Issuer | undefined,
  options: Common,
  extensions: ((publicKey: KeyObject) => Asn1[]) | undefined,
): { cert: string; key: string } {
  const pair = options.privateKey ? pairOf(options.privateKey) : keyPair(options.key ?? "ec");
  const signingKey = issuer ? createPrivateKey(issuer.key) : pair.privateKey;
  const algorithm = signatureAlgorithm(signingKey);
  const subject = name(options.cn);
  const authority = contextual(0, keyIdentifier(createPublicKey(signingKey)));
  const tbs = sequence(
    ...(extensions ? [explicit(0, primitive(asn1.Type.INTEGER, "\x02"))] : []),
    primitive(asn1.Type.INTEGER, serialNumber()),
    algorithm,
    issuer ? subjectOf(issuer) : subject,
    sequence(
      time(options.notBefore ?? new Date(Date.now() - HOUR)),
      time(options.notAfter ?? new Date(Date.now() + 1095 * 24 * HOUR)),
    ),
    subject,
    parse(pair.publicKey.export({ type: "spki", format: "der" })),
    ...(extensions
      ? [explicit(3, sequence(...extensions(pair.publicKey), extension("2.5.29.35", false, sequence(authority))))]
      : []),
  );
  const signature = sign("sha256", Buffer.from(asn1.toDer(tbs).getBytes(), "binary"), signingKey);
  const der = asn1
    .toDer(sequence(tbs, algorithm, primitive(asn1.Type.BITSTRING, `\0${signature.toString("binary")}`)))
    .getBytes();
  return { cert: pem(Buffer.from(der, "binary")), key: keyPem(pair.privateKey, options.keyFormat ?? "pkcs8") };
}

function pairOf(pem: string): { publicKey: KeyObject; privateKey: KeyObject } {
  const privateKey = createPrivateKey(pem);
  return { publicKey: createPublicKey(privateKey), privateKey };
}

function keyPair(type: KeyType): { publicKey: KeyObject; privateKey: KeyObject } {
  return type === "rsa"
    ? generateKeyPairSync("rsa", { modulusLength: 2048 })
    : generateKeyPairSync("ec", { namedCurve: "prime256v1" });
}

function keyPem(key: KeyObject, format: "pkcs8" | "traditional"): string {
  if (format === "pkcs8") return key.export({ type: "pkcs8", format: "pem" }).toString();
  return key.export({ type: key.asymmetricKeyType === "rsa" ? "pkcs1" : "sec1", format: "pem" }).toString();
}

function pem(der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

function signatureAlgorithm(key: KeyObject): Asn1 {
  return key.asymmetricKeyType === "rsa"
    ? sequence(objectId("1.2.840.113549.1.1.11"), primitive(asn1.Type.NULL, ""))
    : sequence(objectId("1.2.840.10045.4.3.2"));
}

/** SHA-1 of the public key's bits (RFC 5280, 4.2.1.2). */
function keyIdentifier(publicKey: KeyObject): string {
  const [, bits] = parse(publicKey.export({ type: "spki", format: "der" })).value as [Asn1, Asn1];
  const bytes = Buffer.from((bits.value as string).slice(1), "binary");
  return createHash("sha1").update(bytes).digest("binary");
}

/** The subject of a CA, byte for byte: verifiers compare it with the issuer of what it signed. */
function subjectOf(ca: Issuer): Asn1 {
  const der = Buffer.from(ca.cert.replace(/-----[^-]+-----|\s/g, ""), "base64");
  const [tbs] = parse(der).value as [Asn1];
  const fields = tbs.value as Asn1[];
  // X.509 v1 has no version in front, and no extensions.
  return fields[fields.length === 6 ? 4 : 5] as Asn1;
}

function name(commonName: string): Asn1 {
  if (commonName === "") return sequence();
  const value = primitive(asn1.Type.UTF8, Buffer.from(commonName).toString("binary"));
  return sequence(asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SET, true, [sequence(objectId("2.5.4.3"), value)]));
}

/** 16 random bytes, positive, and the first not zero, so that the encoding is the shortest. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] as number) & 0x3f) | 0x40;
  return bytes.toString("binary");
}

/** UTCTime for the years 1950 to 2049, else GeneralizedTime (RFC 5280, 4.1.2.5). */
function time(date: Date): Asn1 {
  const digits = `${date
    .toISOString()
    .replace(/\.\d+|\D/g, "")
    .slice(0, 14)}Z`;
  const year = date.getUTCFullYear();
  return year >= 1950 && year < 2050
    ? primitive(asn1.Type.UTCTIME, digits.slice(2))
    : primitive(asn1.Type.GENERALIZEDTIME, digits);
}

function addressBytes(ip: string): string {
  if (isIPv4(ip)) return String.fromCharCode(...ip.split(".").map(Number));
  if (!isIPv6(ip) || ip.includes("%")) throw new TypeError(`not an IP address: ${ip}`);
  // The URL parser writes every IPv6 address in hexadecimal groups.
  const [head, tail] = new URL(`http://[${ip}]`).hostname.slice(1, -1).split("::") as [string, string?];
  const groups = (text: string | undefined) => (text ? text.split(":") : []);
  const zeros = Array<string>(8 - groups(head).length - groups(tail).length).fill("0");
  const all = tail === undefined ? groups(head) : [...groups(head), ...zeros, ...groups(tail)];
  return Buffer.from(all.map((group) => group.padStart(4, "0")).join(""), "hex").toString("binary");
}

function extension(id: string, critical: boolean, value: Asn1): Asn1 {
  const content = primitive(asn1.Type.OCTETSTRING, asn1.toDer(value).getBytes());
  return critical
    ? sequence(objectId(id), primitive(asn1.Type.BOOLEAN, "\xff"), content)
    : sequence(objectId(id), content);
}

function sequence(...values: Asn1[]): Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, values);
}

function primitive(type: forge.asn1.Type, bytes: string): Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, type, false, bytes);
}

/** A value within a tag of its own. */
function explicit(tag: number, value: Asn1): Asn1 {
  return asn1.create(asn1.Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, true, [value]);
}

/** A value with an implicit tag. */
function contextual(tag: number, bytes: string): Asn1 {
  return asn1.create(asn1.Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, false, bytes);
}

function objectId(id: string): Asn1 {
  return primitive(asn1.Type.OID, asn1.oidToDer(id).getBytes());
}

/** Bit strings stay as they are, so that the result encodes to the same bytes. */
function parse(der: Buffer): Asn1 {
  const options = { strict: true, parseAllBytes: true, decodeBitStrings: false };
  return asn1.fromDer(der.toString("binary"), options as unknown as boolean);
}
