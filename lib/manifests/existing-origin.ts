/** Whether the existing objects in a file are those of the target. Pure. */
import { describeObject } from "../import/plan/change.ts";
import { readExistingConfig, remoteEntry } from "../import/plan/existing.ts";
import type { Target } from "../import/plan/target.ts";
import { type Finding, finding } from "../peer/findings.ts";
import { AGENTS_SECRET, KVSTOREMESH_SECRET } from "../peer/peer.ts";
import { printExistingCommand } from "./existing-objects.ts";

/**
 * Checks that no config Secret has the target itself as a peer, as those of other clusters have.
 *
 * An import never writes it, so that a peer which an import recorded is an error. A config that leads elsewhere than to the
 * target's own cache is a warning: charts write it if all clusters get the same values, and Cilium ignores it.
 *
 * @param source - the name of the file with the existing objects.
 */
export function checkExistingOrigin(target: Target, source: string): Finding[] {
  const { facts, namespace } = target;
  const { name } = facts;
  if (name === undefined) return [];
  const { agents, kvstoremesh } = readExistingConfig(target);
  const secrets = [
    { secret: agents, object: describeObject("Secret", AGENTS_SECRET) },
    { secret: kvstoremesh, object: describeObject("Secret", KVSTOREMESH_SECRET) },
  ];
  const command = printExistingCommand(namespace);
  const imported = secrets.find(({ secret: { records, entries } }) => records.has(name) && entries.has(name));
  if (imported) return [finding("existing-foreign", { source }, { object: imported.object, name, command })];
  const suspect = secrets.find(({ secret }) => remoteEntry(secret, name));
  return suspect ? [finding("existing-suspect", { source }, { object: suspect.object, name, command })] : [];
}
