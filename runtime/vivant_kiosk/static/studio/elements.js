// @ts-check
/** Making elements. */

/** @param {string} id @returns {HTMLElement} */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

/**
 * Returns a new element.
 * @param {string} tag
 * @param {Record<string, any>} [options] properties; "class", and names with a dash, as attributes
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function el(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "class" || name.includes("-") || name === "role") element.setAttribute(name, value);
    else /** @type {any} */ (element)[name] = value;
  }
  element.append(...children);
  return element;
}

/**
 * Returns a new SVG element.
 * @param {string} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {...Node} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * Rebuilds what is in an element; the focus stays where it was, by the order of the controls.
 * @param {HTMLElement} root
 * @param {() => void} rebuild
 */
export function keepFocus(root, rebuild) {
  const controls = () => [...root.querySelectorAll("button, input, select")];
  const at = document.activeElement ? controls().indexOf(document.activeElement) : -1;
  rebuild();
  if (at >= 0) /** @type {HTMLElement | undefined} */ (controls()[at])?.focus({ preventScroll: true });
}

/**
 * Asks a question in a dialog.
 * @param {string} text
 * @param {string} yes what the button says that goes on
 * @returns {Promise<boolean>}
 */
export function ask(text, yes) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("question"));
  byId("question-text").textContent = text;
  byId("question-yes").textContent = yes;
  dialog.returnValue = "";
  byId("question-yes").onclick = () => dialog.close("yes");
  byId("question-no").onclick = () => dialog.close();
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
  });
}

/**
 * Lets the curator choose a file.
 * @param {string} accept
 * @returns {Promise<File | null>} null where none was chosen
 */
export function chooseFile(accept) {
  const input = el("input", { type: "file", accept });
  return new Promise((resolve) => {
    input.onchange = () => resolve(input.files[0] ?? null);
    input.oncancel = () => resolve(null);
    input.click();
  });
}
