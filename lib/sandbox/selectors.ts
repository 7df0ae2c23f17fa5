import type { KubernetesObject } from "./object.ts";
import type { ServedResource } from "./resources.ts";
import { badRequest } from "./status.ts";

type Test = (object: KubernetesObject) => boolean;

/**
 * A `labelSelector`: `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, joined by commas.
 *
 * @throws StatusError 400
 */
export function labelSelector(text: string): Test {
  const tests = text
    .split(/,(?![^(]*\))/)
    .filter((part) => part.trim() !== "")
    .map((part): Test => {
      const { absent } = /^\s*!\s*(?<absent>[^\s=!,()]+)\s*$/.exec(part)?.groups ?? {};
      if (absent !== undefined) return (object) => labels(object)[absent] === undefined;
      const term =
        /^\s*(?<key>[^\s=!,()]+)\s*(?:(?<operator>==?|!=)\s*(?<value>[^\s=!,()]*)|\s(?<set>in|notin)\s*\((?<list>[^()]*)\))?\s*$/;
      const { key, operator, value = "", set, list = "" } = term.exec(part)?.groups ?? {};
      if (key === undefined) throw badRequest(`unable to parse requirement: ${part.trim()}`);
      if (!operator && !set) return (object) => labels(object)[key] !== undefined;
      const values = set ? list.split(",").map((item) => item.trim()) : [value];
      const positive = operator !== "!=" && set !== "notin";
      return (object) => {
        const label = labels(object)[key];
        return positive === (label !== undefined && values.includes(label));
      };
    });
  return (object) => tests.every((test) => test(object));
}

function labels(object: KubernetesObject): Record<string, string> {
  return object.metadata.labels ?? {};
}

/** What a field selector says: the test, and the one name that is asked for, if it is one. */
export interface FieldSelector {
  test: Test;
  name: string | undefined;
}

/** What can be selected by beside `metadata.name` and `metadata.namespace`. */
const FIELDS: Record<string, Record<string, (object: KubernetesObject) => string | undefined>> = {
  pods: { "spec.nodeName": (pod) => pod.spec?.nodeName, "status.phase": (pod) => pod.status?.phase },
  secrets: { type: (secret) => secret.type },
};

/**
 * A `fieldSelector`: `metadata.name=a`, `==` and `!=`, joined by commas.
 *
 * @returns with a name, access is checked for that name
 * @throws StatusError 400
 */
export function fieldSelector(resource: ServedResource, text: string): FieldSelector {
  let name: string | undefined;
  const fields: (typeof FIELDS)[string] = {
    "metadata.name": (object) => object.metadata.name,
    ...(resource.namespaced && { "metadata.namespace": (object) => object.metadata.namespace }),
    ...FIELDS[resource.plural],
  };
  const tests = text
    .split(",")
    .filter((part) => part !== "")
    .map((part): Test => {
      const [, field, operator, value] = /^([^=!]+)(==?|!=)(.*)$/.exec(part) ?? [];
      if (field === undefined) throw badRequest(`invalid selector: '${text}'; can't understand '${part}'`);
      const of = Object.hasOwn(fields, field) ? fields[field] : undefined;
      if (!of) throw badRequest(`field label not supported: ${field}`);
      if (field === "metadata.name" && operator !== "!=") name = value;
      return (object) => ((of(object) ?? "") === value) === (operator !== "!=");
    });
  return { test: (object) => tests.every((test) => test(object)), name };
}
