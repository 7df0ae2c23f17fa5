import type { KubernetesObject } from "./object.ts";
import type { ServedResource } from "./resources.ts";
import { badRequest, qualifiedName } from "./status.ts";

type Test = (object: KubernetesObject) => boolean;

/**
 * Parses a `labelSelector`: `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, separated by commas.
 *
 * @throws StatusError 400
 */
export function labelSelector(text: string): Test {
  const tests = text
    .split(/,(?![^(]*\))/)
    .filter((part) => part.trim() !== "")
    .map((part): Test => {
      const { absent } = /^\s*!\s*(?<absent>[^\s=!,()]+)\s*$/.exec(part)?.groups ?? {};
      if (absent !== undefined) return (object) => labelsOf(object)[absent] === undefined;
      const term =
        /^\s*(?<key>[^\s=!,()]+)\s*(?:(?<operator>==?|!=)\s*(?<value>[^\s=!,()]*)|\s(?<set>in|notin)\s*\((?<list>[^()]*)\))?\s*$/;
      const { key, operator, value = "", set, list = "" } = term.exec(part)?.groups ?? {};
      if (key === undefined) throw badRequest(`unable to parse requirement: ${part.trim()}`);
      if (!operator && !set) return (object) => labelsOf(object)[key] !== undefined;
      const values = set ? list.split(",").map((item) => item.trim()) : [value];
      const positive = operator !== "!=" && set !== "notin";
      return (object) => {
        const label = labelsOf(object)[key];
        return positive === (label !== undefined && values.includes(label));
      };
    });
  return (object) => tests.every((test) => test(object));
}

function labelsOf(object: KubernetesObject): Record<string, string> {
  return object.metadata.labels ?? {};
}

export interface FieldSelector {
  test: Test;
  /** The value of `metadata.name`: access to a list is checked for this name. */
  name: string | undefined;
}

const REFERENCE_FIELDS = ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"];

/** Supported fields of stored objects by resource, besides `metadata.name` and `metadata.namespace`. */
const FIELDS: Record<string, Record<string, (object: KubernetesObject) => string | undefined>> = {
  pods: { "spec.nodeName": (pod) => pod.spec?.nodeName, "status.phase": (pod) => pod.status?.phase },
  events: {
    ...Object.fromEntries(
      REFERENCE_FIELDS.map((field) => [`involvedObject.${field}`, (event) => event.involvedObject?.[field]]),
    ),
    ...{ reason: (event) => event.reason, type: (event) => event.type },
    source: (event) => event.source?.component || event.reportingComponent,
    reportingComponent: (event) => event.reportingComponent,
  },
  "events.events.k8s.io": {
    ...Object.fromEntries(
      REFERENCE_FIELDS.map((field) => [`regarding.${field}`, (event) => event.involvedObject?.[field]]),
    ),
    ...{ reason: (event) => event.reason, type: (event) => event.type },
    reportingController: (event) => event.reportingComponent,
  },
  secrets: { type: (secret) => secret.type },
};

/**
 * Parses a `fieldSelector`: `metadata.name=a`, also with `==` and `!=`, separated by commas.
 *
 * @throws StatusError 400
 */
export function fieldSelector(resource: ServedResource, text: string): FieldSelector {
  let name: string | undefined;
  const fields: (typeof FIELDS)[string] = {
    "metadata.name": (object) => object.metadata.name,
    ...(resource.namespaced && { "metadata.namespace": (object) => object.metadata.namespace }),
    ...FIELDS[qualifiedName(resource)],
  };
  const tests = text
    .split(",")
    .filter((part) => part !== "")
    .map((part): Test => {
      const [, field, operator, value] = /^([^=!]+)(==?|!=)(.*)$/.exec(part) ?? [];
      if (field === undefined) throw badRequest(`invalid selector: '${text}'; can't understand '${part}'`);
      const read = Object.hasOwn(fields, field) ? fields[field] : undefined;
      if (!read) throw badRequest(`field label not supported: ${field}`);
      if (field === "metadata.name" && operator !== "!=") name = value;
      return (object) => ((read(object) ?? "") === value) === (operator !== "!=");
    });
  return { test: (object) => tests.every((test) => test(object)), name };
}
