// @ts-check
/**
 * Fields with labels. Each knows the key of artwork.toml that it is for, follows the value that
 * it shows, and has room for an error.
 */

import { el } from "./elements.js";

let count = 0;

export class Fields {
  constructor() {
    /** @type {(() => void)[]} */
    this.followers = [];
  }

  /** Shows the values as they are now. */
  refresh() {
    for (const follow of this.followers) follow();
  }

  /** Calls ``show`` now and whenever values have changed. @param {() => void} show */
  follow(show) {
    this.followers.push(show);
    show();
  }

  /** @param {() => string} get @param {(value: string) => void} set */
  text(get, set, options = {}) {
    const input = el("input", { type: "text", autocomplete: "off", spellcheck: false, ...options });
    input.onchange = () => set(input.value.trim());
    this.follow(() => (input.value = get()));
    return input;
  }

  /**
   * @param {() => number | null} get
   * @param {(value: number | null) => void} set
   * @param {{min: number, max: number, step?: number, optional?: boolean, "aria-label"?: string,
   *   placeholder?: string}} options
   */
  number(get, set, { optional = false, ...options }) {
    const input = el("input", { type: "number", step: 1, ...options });
    this.follow(() => {
      const value = get();
      input.value = value === null ? "" : String(value);
    });
    input.onchange = () => {
      const given = input.valueAsNumber;
      const kept = Math.min(Math.max(given, options.min), options.max);
      if (!Number.isNaN(given)) set(kept);
      else if (optional) set(null);
      this.refresh();
    };
    return input;
  }

  /** @param {() => number} get @param {(value: number, again: boolean) => void} set */
  range(get, set, options) {
    const input = el("input", { type: "range", ...options });
    let again = false;
    input.oninput = () => {
      set(input.valueAsNumber, again);
      again = true;
    };
    input.onchange = () => (again = false);
    this.follow(() => (input.value = String(get())));
    return input;
  }

  /**
   * @param {() => string} get
   * @param {[string, string][]} choices
   * @param {(value: string) => void} set
   */
  select(get, choices, set) {
    const options = choices.map(([value, label]) => el("option", { value }, label));
    const input = el("select", {}, ...options);
    input.onchange = () => set(input.value);
    this.follow(() => (input.value = get()));
    return input;
  }

  /** Chips of which one is chosen. @param {() => string} get @param {[string, string][]} choices */
  choice(get, choices, set) {
    const name = `choice-${++count}`;
    return choices.map(([value, label]) => {
      const input = el("input", { type: "radio", name, value });
      input.onchange = () => set(value);
      this.follow(() => (input.checked = get() === value));
      return el("label", { class: "chip" }, input, label);
    });
  }

  /**
   * Chips of which at least one is chosen.
   * @param {() => string[]} get
   * @param {[string, string][]} choices
   */
  several(get, choices, set) {
    return choices.map(([value, label]) => {
      const input = el("input", { type: "checkbox" });
      input.onchange = () => {
        const others = get().filter((other) => other !== value);
        const next = input.checked ? [...others, value] : others;
        if (next.length) set(next);
        this.refresh();
      };
      this.follow(() => (input.checked = get().includes(value)));
      return el("label", { class: "chip" }, input, label);
    });
  }

  /** A line that is there while ``get`` has something to say. @param {() => string} get */
  notice(get) {
    const line = el("p", { class: "notice" });
    this.follow(() => {
      line.textContent = get();
      line.hidden = !line.textContent;
    });
    return line;
  }
}

/**
 * Returns a label, a control, a hint and room for an error.
 * @param {string} key such as "slot.name"
 * @param {string} label
 * @param {HTMLElement} control
 * @param {string} [hint]
 * @param {HTMLElement[]} beside the control
 */
export function field(key, label, control, hint = "", ...beside) {
  control.id = `field-${++count}`;
  const error = el("p", { class: "error", id: `${control.id}-error`, hidden: true });
  control.setAttribute("aria-describedby", error.id);
  const row = beside.length ? el("div", { class: "row" }, control, ...beside) : control;
  const root = el("div", { class: "field" }, el("label", { htmlFor: control.id }, label), row);
  if (hint) root.append(el("p", { class: "hint" }, hint));
  root.append(error);
  root.dataset.key = key;
  return root;
}

/** As ``field``, for controls that belong together. @param {HTMLElement[]} controls */
export function group(key, label, controls, hint = "") {
  const root = el("fieldset", { class: "field" }, el("legend", {}, label));
  root.append(el("div", { class: "row" }, ...controls));
  if (hint) root.append(el("p", { class: "hint" }, hint));
  root.append(el("p", { class: "error", hidden: true }));
  root.dataset.key = key;
  return root;
}

/**
 * Shows errors at their fields.
 * @param {HTMLElement} page
 * @param {Map<string, string>} errors by key
 * @returns {string[]} keys for which there is no field
 */
export function showErrors(page, errors) {
  const left = new Set(errors.keys());
  for (const root of /** @type {NodeListOf<HTMLElement>} */ (page.querySelectorAll(".field"))) {
    const message = errors.get(root.dataset.key ?? "");
    const line = /** @type {HTMLElement} */ (root.querySelector(".error"));
    line.textContent = message ?? "";
    line.hidden = message === undefined;
    root.classList.toggle("wrong", message !== undefined);
    left.delete(root.dataset.key ?? "");
  }
  return [...left];
}
