/** The metrics of `inspect`. Pure. */
import type { Finding } from "../peer/findings.ts";
import type { Inspection, PeerReport, Verdict } from "../peer/inspect.ts";
import { groupBy } from "../util/group-by.ts";
import { ALL_CODES, countSamples, expirySamples, findingSamples, type Metric, type UsedCertificate } from "./metric.ts";

/** A file with its peers. */
interface FileSubject {
  file: string;
  readable: boolean;
  peers: PeerReport[];
  findings: Finding[];
}

const VERDICTS = Object.keys({
  connects: true,
  warnings: true,
  "default-certificates": true,
  "node-local": true,
  fails: true,
} satisfies Record<Verdict, true>);

/** The metrics, in the order in which they are printed. */
export const FILE_METRICS: readonly Metric<FileSubject>[] = [
  {
    name: "clustermesh_file_readable",
    help: "Whether the file could be read, with all of its peers.",
    labelNames: ["file"],
    samplesOf: ({ file, readable }) => [{ labels: { file }, value: readable }],
  },
  {
    name: "clustermesh_file_peers",
    help: "Peers in the file by verdict.",
    labelNames: ["file", "verdict"],
    samplesOf: ({ file, peers }) => {
      const verdicts = peers.map(({ verdict }) => verdict);
      return countSamples({ file }, "verdict", VERDICTS, verdicts);
    },
  },
  {
    name: "clustermesh_file_peer_connects",
    help: "Whether a peer in the file would connect.",
    labelNames: ["file", "peer"],
    samplesOf: ({ file, peers }) =>
      peers.map(({ name, verdict }) => ({
        labels: { file, peer: name },
        value: verdict === "connects" || verdict === "warnings",
      })),
  },
  {
    name: "clustermesh_file_certificate_expiry_timestamp_seconds",
    help: "Time at which a certificate of a peer in the file expires.",
    labelNames: ["file", "peer", "use"],
    samplesOf: ({ file, peers }) =>
      peers.flatMap((peer) => expirySamples({ file, peer: peer.name }, certificatesOf(peer))),
  },
  {
    name: "clustermesh_file_findings",
    help: "Findings about the file and its peers.",
    labelNames: ["file", "severity", "code"],
    samplesOf: ({ file, readable, findings }) => findingSamples({ file }, findings, readable ? ALL_CODES : []),
  },
];

function certificatesOf({ client, ca }: PeerReport): UsedCertificate[] {
  return [
    ...(typeof client === "object" ? [{ ...client, use: "client" as const }] : []),
    ...(typeof ca === "object" ? ca.map((one) => ({ ...one, use: "ca" as const })) : []),
  ];
}

/** Returns each file with its peers and all findings in it. */
export function groupByFile({ peers, unreadable, findings }: Inspection): FileSubject[] {
  const all = [...peers.flatMap((peer) => peer.findings), ...findings];
  const peersOf = groupBy(peers, ({ source }) => source);
  const findingsOf = groupBy(all, ({ source }) => source);
  return [...new Set([...peersOf.keys(), ...findingsOf.keys(), ...unreadable])].map((file) => ({
    file,
    readable: !unreadable.includes(file),
    peers: peersOf.get(file) ?? [],
    findings: findingsOf.get(file) ?? [],
  }));
}
