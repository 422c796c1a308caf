/** The page's words, in the visitor's language. */

/** @typedef {Record<string, string | number>} Values */

/** @type {Map<string, Record<string, string>>} */
const languages = new Map();
/** @type {WeakMap<Element, Values>} */
const fillings = new WeakMap();
const ATTRIBUTES = { text: "", alt: "alt", label: "aria-label" };
let current = "en";

/** Load every language now: a visitor may change it while the service is away. */
export async function loadLanguages(/** @type {string[]} */ codes) {
  await Promise.all(codes.map(async (code) => {
    if (languages.has(code)) return;
    try {
      const response = await fetch(`languages/${code}.json`, { signal: AbortSignal.timeout(5000) });
      if (response.ok) languages.set(code, await response.json());
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 500)); // the service is away; asked again
    }
  }));
}

export const language = () => current;
export const hasLanguage = (/** @type {string} */ code) => languages.has(code);
export const nameOf = (/** @type {string} */ code) => languages.get(code)?.language ?? code;

/** @param {string} key @param {Values} [values] for its {placeholders}. */
export function text(key, values = {}) {
  const found = languages.get(current)?.[key] ?? languages.get("en")?.[key] ?? key;
  return found.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/**
 * Write a text into an element, now and after every change of language.
 *
 * @param {HTMLElement} element
 * @param {string} key
 * @param {Values} [values]
 * @param {"text" | "alt" | "label"} [where]
 */
export function write(element, key, values = {}, where = "text") {
  element.dataset[where] = key;
  fillings.set(element, values);
  render(element);
}

/** @param {HTMLElement} element */
function render(element) {
  for (const [kind, attribute] of Object.entries(ATTRIBUTES)) {
    const key = element.dataset[kind];
    if (!key) continue;
    const words = text(key, fillings.get(element));
    if (attribute) element.setAttribute(attribute, words);
    // What did not change is not written again: screen readers would say it again.
    else if (element.textContent !== words) element.textContent = words;
  }
}

/** Change the language of the page. */
export function setLanguage(/** @type {string} */ code) {
  current = languages.has(code) ? code : "en";
  document.documentElement.lang = current;
  document.title = text("page");
  document.querySelectorAll("[data-text], [data-alt], [data-label]")
    .forEach((element) => render(/** @type {HTMLElement} */ (element)));
  document.dispatchEvent(new Event("language"));
}
