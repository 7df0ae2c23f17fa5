/** What an extracted file states about its cluster as a target of imports, for `render`. Pure. */
import {
  type CommonFiles,
  findCommonFiles,
  findConfigReaders,
  mountsLocalFiles,
  readerFolder,
} from "../cilium/config-readers.ts";
import type { Installation } from "../cilium/installation.ts";
import type { Peer } from "../peer/peer.ts";
import type { CommonCa, FilesOrigin, TargetFacts } from "../peer/target-facts.ts";
import { formatCertificates, normalizeCa, readCertificates, tryReadPem } from "../x509/pem.ts";

/**
 * Derives the facts of a target from an installation. Facts about workloads that could not be read are absent.
 *
 * @param peer - the peer in the file: its CA and certificate are not repeated.
 */
export function deriveTargetFacts(installation: Installation, peer: Peer): TargetFacts {
  const { facts, folders, agents, operator, takesUsers } = installation;
  const areReadersKnown = facts.kvstoreMesh || (agents && operator);
  return {
    mountsUsers: takesUsers,
    ...(areReadersKnown && {
      configReaders: findConfigReaders(installation).map(({ kind, object }) => ({
        kind,
        name: object.metadata?.name ?? "",
      })),
    }),
    ...((facts.kvstoreMesh || agents) && deriveCommonFiles(installation, peer)),
    ...(agents && { mountsLocalFiles: mountsLocalFiles(folders.agents) }),
    ...deriveClientCertificate(installation, peer),
  };
}

/** Derives the facts about the common files; those of the agents only if they differ, or are unknown. */
function deriveCommonFiles(installation: Installation, peer: Peer): TargetFacts {
  const { facts, folders, agents } = installation;
  const [origin, ca] = describeFiles(findCommonFiles(readerFolder(installation), installation), peer);
  const own: TargetFacts = { commonFiles: origin, ...(ca !== undefined && { commonCa: ca }) };
  if (!facts.kvstoreMesh) return own;
  if (!agents) return { ...own, agentsCommonFiles: "unknown" };
  const [agentsOrigin, agentsCa] = describeFiles(findCommonFiles(folders.agents, installation), peer);
  const differs = JSON.stringify([origin, ca]) !== JSON.stringify([agentsOrigin, agentsCa]);
  if (!differs) return own;
  return { ...own, agentsCommonFiles: agentsOrigin, ...(agentsCa !== undefined && { agentsCommonCa: agentsCa }) };
}

function describeFiles(files: CommonFiles | undefined, peer: Peer): [origin: FilesOrigin, ca: CommonCa | undefined] {
  if (!files) return ["none", undefined];
  const { external, listed = false } = files;
  const origin: FilesOrigin = external ? { name: external.volume, type: external.type, listed } : "secret";
  return [origin, describeCommonCa(files.ca, peer)];
}

/** An unreadable text is not repeated: it could contain a private key. */
function describeCommonCa(pem: string | undefined, { ca, facts }: Peer): CommonCa {
  const own = pem === undefined ? undefined : tryReadPem(() => normalizeCa(pem));
  if (own === undefined) return "unknown";
  return own === (typeof ca === "object" ? ca.pem : facts.ca) ? "file" : { pem: own };
}

/** The client certificate that the file lacks because importers use their own. */
function deriveClientCertificate({ remoteCertificate }: Installation, { client }: Peer): TargetFacts {
  if (!remoteCertificate || client !== "importer") return {};
  const pem = tryReadPem(() => formatCertificates(readCertificates(remoteCertificate.cert)));
  return pem === undefined ? {} : { clientCertificate: pem };
}
