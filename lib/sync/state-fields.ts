/** How the fields of a state are read, and their bounds. Pure. */
import {
  type AuthorityRecord,
  type ContestedKey,
  type GoneAddress,
  type HeldRecord,
  HOLD_REASONS,
  type KnownAuthority,
  type ListFailure,
  MAX_STATE_TEXT,
  type MemberRecord,
  type SyncState,
} from "./state.ts";
import {
  choiceField,
  FieldError,
  type FieldReader,
  integerField,
  listField,
  objectField,
  recordField,
  textField,
  timeField,
} from "./strict-fields.ts";

/** The bounds of what is written and read. Lengths of texts are in UTF-16 code units. */
export const LIMITS = {
  /** More than three times the clusters of a mesh (511): members stay in the state while they are absent. */
  records: 2_000,
  /** All pairs of a mesh of 254 clusters. */
  held: 65_536,
  /** A mesh has at most 511 clusters. */
  clusters: 512,
  /** Names of clusters have at most 32. */
  counterName: 64,
  text: MAX_STATE_TEXT,
  /** Resets of a key, and certificates of a bundle. */
  parts: 100,
} as const;

const text = textField(LIMITS.text);
const count = integerField(0, Number.MAX_SAFE_INTEGER);
const counts = recordField(textField(LIMITS.counterName), count, LIMITS.clusters);

const member = objectField<MemberRecord, keyof MemberRecord>(
  {
    entry: text,
    cluster: text,
    id: integerField(-(2 ** 31), 2 ** 31),
    uid: text,
    lastContact: timeField,
    listedSince: timeField,
    absentSince: timeField,
    pruneFrom: listField(text, LIMITS.clusters),
    keptBecause: text,
    formerEntry: text,
    error: text,
    remedy: text,
  },
  [
    "cluster",
    "id",
    "uid",
    "lastContact",
    "listedSince",
    "absentSince",
    "pruneFrom",
    "keptBecause",
    "formerEntry",
    "error",
    "remedy",
  ],
);

const held = objectField<HeldRecord, keyof HeldRecord>(
  {
    target: text,
    peer: text,
    reason: choiceField(HOLD_REASONS),
    since: timeField,
    until: timeField,
    message: text,
    remedy: text,
  },
  ["peer", "until", "remedy"],
);

const contested = objectField<ContestedKey, keyof ContestedKey>(
  {
    target: text,
    object: text,
    key: text,
    manager: text,
    resets: listField(timeField, LIMITS.parts),
    level: integerField(0, 100),
    until: timeField,
  },
  ["until"],
);

const address = objectField<GoneAddress, never>({ peer: text, address: text, since: timeField }, []);

const hash = textField(16, /^[0-9a-f]{16}$/);

const authority = objectField<AuthorityRecord, "uid" | "server">(
  {
    cluster: text,
    uid: text,
    authorities: listField(
      objectField<KnownAuthority, "since" | "until">({ key: hash, since: timeField, until: timeField }, [
        "since",
        "until",
      ]),
      LIMITS.parts,
      ({ key }) => key,
    ),
    server: objectField<NonNullable<AuthorityRecord["server"]>, "since">({ fingerprint: hash, since: timeField }, [
      "since",
    ]),
  },
  ["uid", "server"],
);

/** The records of authorities have different names. */
export function authorityName({ cluster, uid }: Pick<MemberRecord, "cluster" | "uid">): string {
  return JSON.stringify([cluster, uid]);
}

const listFailure = objectField<ListFailure, never>({ since: timeField, error: text }, []);

/** Reads the version. @throws FieldError */
export const readSchemaVersion: FieldReader<1> = (value) => {
  if (value !== 1)
    throw new FieldError("schemaVersion must be 1; the state is of another version of clustermesh-secrets");
  return 1;
};

/** Reads a state; without a judgment of its times. @throws FieldError */
export const readState = objectField<SyncState, "interval" | "pruneAfter" | "stoppedAt" | "listFailure" | "omitted">(
  {
    schemaVersion: readSchemaVersion,
    selection: text,
    members: listField(member, LIMITS.records, ({ entry }) => entry),
    held: listField(held, LIMITS.held),
    contested: listField(contested, LIMITS.records),
    addresses: listField(address, LIMITS.records),
    authorities: listField(authority, LIMITS.records, authorityName),
    counters: objectField<SyncState["counters"], never>({ reconciliations: count, writes: counts, errors: counts }, []),
    interval: count,
    pruneAfter: count,
    stoppedAt: timeField,
    listFailure,
    omitted: count,
  },
  ["interval", "pruneAfter", "stoppedAt", "listFailure", "omitted"],
);
