/** HTML in which all texts are escaped. Pure. */
import { escapeLine } from "./style.ts";

/** HTML that has been escaped. */
export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escapeMarkup(text: string): string {
  return escapeLine(text).replace(/[&<>"']/g, (character) => ENTITIES[character] ?? "");
}

/** Values of a template: texts are escaped, markup is inserted as it is, and lists are joined. */
type MarkupValue = string | number | Markup | readonly Markup[];

/**
 * Creates HTML from a template, as its tag. Texts are escaped for elements and quoted attributes, which a template must use;
 * invisible characters and line breaks become visible, so that a text cannot reorder or hide others.
 */
export function markup(strings: TemplateStringsArray, ...values: MarkupValue[]): Markup {
  const texts = values.map((value) => {
    if (value instanceof Markup) return value.text;
    return typeof value === "object" ? value.map(({ text }) => text).join("") : escapeMarkup(`${value}`);
  });
  return new Markup(strings.map((string, i) => string + (texts[i] ?? "")).join(""));
}

/**
 * Serializes data for a `script` element. No `<` is left in it, so that no text can end the element or start a comment.
 */
export function toJsonMarkup(data: unknown): Markup {
  return new Markup(JSON.stringify(data).replaceAll("<", "\\u003c"));
}
