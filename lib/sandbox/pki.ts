/** Certificates for embedded clusters and for tests: X.509 by the schemas of RFC 5280, keys and signatures by node:crypto. */
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
import { AsnConvert, OctetString } from "@peculiar/asn1-schema";
import * as x509 from "@peculiar/asn1-x509";
import { isAddress } from "../util/address.ts";

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
const FLAGS = x509.KeyUsageFlags;
const PURPOSES = { server: x509.id_kp_serverAuth, client: x509.id_kp_clientAuth, any: x509.anyExtendedKeyUsage };
const COMMON_NAME = "2.5.4.3";
/** sha256WithRSAEncryption, whose parameters are NULL, and ecdsa-with-SHA256, which has none (RFC 4055, RFC 5758). */
const SIGNATURES = {
  rsa: new x509.AlgorithmIdentifier({ algorithm: "1.2.840.113549.1.1.11", parameters: null }),
  ec: new x509.AlgorithmIdentifier({ algorithm: "1.2.840.10045.4.3.2" }),
};

/** Makes a root CA or, with an `issuer`, an intermediate one. */
export function makeCa(options: CaOptions): Issuer {
  const { issuer, flaw, usage = "none", keyId } = options;
  const { cert, key } = sealed(
    issuer,
    options,
    flaw !== "v1" && {
      isCa: flaw !== "no-ca",
      keyUsage: flaw === "no-cert-sign" ? FLAGS.cRLSign : FLAGS.keyCertSign | FLAGS.cRLSign,
      usage,
      keyId,
      names: [],
    },
  );
  return { cert, key, chain: issuer ? cert + issuer.chain : "" };
}

/**
 * Issues a certificate for a server or a client.
 *
 * @returns PEM of certificate and key; the certificate is followed by the intermediate CAs it was issued by.
 * @throws TypeError where an entry of `ips` is no address
 */
export function issue(issuer: Issuer, options: LeafOptions): { cert: string; key: string } {
  const { dns = [], ips = [], usage, key: type } = options;
  const { cert, key } = sealed(issuer, options, {
    isCa: false,
    keyUsage: type === "rsa" ? FLAGS.digitalSignature | FLAGS.keyEncipherment : FLAGS.digitalSignature,
    usage,
    names: [...dns.map((dNSName) => new x509.GeneralName({ dNSName })), ...ips.map(addressName)],
  });
  return { cert: cert + issuer.chain, key };
}

/** What the extensions say. */
interface Profile {
  isCa: boolean;
  keyUsage: number;
  usage: Usage;
  keyId?: string | undefined;
  names: x509.GeneralName[];
}

/** Without an issuer the certificate signs itself, and without a profile it is one of X.509 v1. */
function sealed(issuer: Issuer | undefined, options: Common, profile: Profile | false): { cert: string; key: string } {
  const privateKey = options.privateKey ? createPrivateKey(options.privateKey) : newKey(options.key ?? "ec");
  const signingKey = issuer ? createPrivateKey(issuer.key) : privateKey;
  const signatureAlgorithm = SIGNATURES[signingKey.asymmetricKeyType as KeyType];
  const subject = nameOf(options.cn);
  const publicKey = publicKeyOf(privateKey);
  const tbsCertificate = new x509.TBSCertificate({
    version: profile ? x509.Version.v3 : x509.Version.v1,
    serialNumber: serialNumber(),
    signature: signatureAlgorithm,
    issuer: issuer ? subjectOf(issuer) : subject,
    validity: Object.assign(new x509.Validity(), {
      notBefore: timeOf(options.notBefore ?? new Date(Date.now() - HOUR)),
      notAfter: timeOf(options.notAfter ?? new Date(Date.now() + 1095 * 24 * HOUR)),
    }),
    subject,
    subjectPublicKeyInfo: publicKey,
    ...(profile && { extensions: extensionsOf(profile, publicKey, issuer ? publicKeyOf(signingKey) : publicKey) }),
  });
  const signature = sign("sha256", Buffer.from(AsnConvert.serialize(tbsCertificate)), signingKey);
  const certificate = new x509.Certificate({ tbsCertificate, signatureAlgorithm, signatureValue: bytesOf(signature) });
  const der = Buffer.from(AsnConvert.serialize(certificate));
  return { cert: new X509Certificate(der).toString(), key: keyPem(privateKey, options.keyFormat ?? "pkcs8") };
}

function extensionsOf(
  { isCa, keyUsage, usage, keyId, names }: Profile,
  publicKey: x509.SubjectPublicKeyInfo,
  authority: x509.SubjectPublicKeyInfo,
): x509.Extensions {
  const subjectKey = keyId === undefined ? keyHash(publicKey) : Buffer.from(keyId);
  const authorityKey = new x509.KeyIdentifier(keyHash(authority));
  return new x509.Extensions([
    extension(x509.id_ce_basicConstraints, new x509.BasicConstraints({ cA: isCa }), true),
    extension(x509.id_ce_keyUsage, new x509.KeyUsage(keyUsage), true),
    ...(usage === "none" ? [] : [extension(x509.id_ce_extKeyUsage, new x509.ExtendedKeyUsage([PURPOSES[usage]]))]),
    extension(x509.id_ce_subjectKeyIdentifier, new x509.SubjectKeyIdentifier(subjectKey)),
    ...(names.length > 0 ? [extension(x509.id_ce_subjectAltName, new x509.SubjectAlternativeName(names))] : []),
    extension(x509.id_ce_authorityKeyIdentifier, new x509.AuthorityKeyIdentifier({ keyIdentifier: authorityKey })),
  ]);
}

function extension(extnID: string, value: object, critical = false): x509.Extension {
  return new x509.Extension({ extnID, critical, extnValue: new OctetString(AsnConvert.serialize(value)) });
}

function newKey(type: KeyType): KeyObject {
  return type === "rsa"
    ? generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey
    : generateKeyPairSync("ec", { namedCurve: "prime256v1" }).privateKey;
}

function keyPem(key: KeyObject, format: "pkcs8" | "traditional"): string {
  if (format === "pkcs8") return key.export({ type: "pkcs8", format: "pem" }).toString();
  return key.export({ type: key.asymmetricKeyType === "rsa" ? "pkcs1" : "sec1", format: "pem" }).toString();
}

function publicKeyOf(privateKey: KeyObject): x509.SubjectPublicKeyInfo {
  const der = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  return AsnConvert.parse(der, x509.SubjectPublicKeyInfo);
}

/** SHA-1 of the public key's bits (RFC 5280, 4.2.1.2). */
function keyHash({ subjectPublicKey }: x509.SubjectPublicKeyInfo): Buffer {
  return createHash("sha1").update(Buffer.from(subjectPublicKey)).digest();
}

/** 16 random bytes, positive, and the first not zero, so that the encoding is the shortest. */
function serialNumber(): ArrayBuffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] as number) & 0x3f) | 0x40;
  return bytesOf(bytes);
}

/** The subject of a CA: verifiers compare it with the issuer of what it signed. */
function subjectOf(ca: Issuer): x509.Name {
  return AsnConvert.parse(new X509Certificate(ca.cert).raw, x509.Certificate).tbsCertificate.subject;
}

function nameOf(commonName: string): x509.Name {
  if (commonName === "") return new x509.Name();
  const value = new x509.AttributeValue({ utf8String: commonName });
  const part = new x509.AttributeTypeAndValue({ type: COMMON_NAME, value });
  return new x509.Name([new x509.RelativeDistinguishedName([part])]);
}

/** UTCTime for the years 1950 to 2049, else GeneralizedTime (RFC 5280, 4.1.2.5). The schema knows the later ones. */
function timeOf(date: Date): x509.Time {
  return new x509.Time(date.getUTCFullYear() < 1950 ? { generalTime: date } : date);
}

/** An address; IPv4 within IPv6 in hexadecimal groups, as the URL parser writes it. */
function addressName(ip: string): x509.GeneralName {
  if (!isAddress(ip)) throw new TypeError(`not an IP address: ${ip}`);
  return new x509.GeneralName({ iPAddress: ip.includes(":") ? new URL(`http://[${ip}]`).hostname.slice(1, -1) : ip });
}

/** The bytes of a buffer in memory of their own, as the schemas take them. */
function bytesOf(buffer: Buffer): ArrayBuffer {
  return new Uint8Array(buffer).buffer;
}
