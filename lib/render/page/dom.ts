/** Access to the elements of the page. */

/**
 * Returns the element with an id.
 *
 * @throws Error if there is none of this type.
 */
export function elementById<T extends HTMLElement>(id: string, type: new () => T): T {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`no element #${id}`);
  return element;
}

/** Creates an element with a class, and texts or elements as its content. */
export function create<K extends keyof HTMLElementTagNameMap>(
  name: K,
  className: string,
  ...content: (string | Node)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  if (className !== "") element.className = className;
  element.append(...content);
  return element;
}
