// @ts-check
/** Trying an artwork with a portrait, before or after it is saved. */

import { PICTURES } from "./draft.js";
import { byId, chooseFile, el } from "./elements.js";
import * as service from "./service.js";

export class Trial {
  /** @param {import("./draft.js").Draft} draft */
  constructor(draft) {
    this.draft = draft;
    this.root = byId("trial");
    this.root.hidden = true;
    /** @type {File | null} */
    this.portrait = null;
    /** @type {import("./draft.js").Values | null} */
    this.tried = null;
    this.slot = "";
    /** @type {AbortController | null} */
    this.running = null;
    this.#build();
  }

  close() {
    this.running?.abort();
    this.#enlarge(false);
    this.root.hidden = true;
    URL.revokeObjectURL(this.picture.src);
    this.root.replaceChildren();
  }

  #build() {
    this.where = el("select", { "aria-label": "Slot of the trial" });
    this.where.onchange = () => {
      this.slot = this.where.value;
      this.run();
    };
    this.sample = el("button", {}, "Sample portrait");
    this.sample.onclick = () => this.#take(null);
    this.own = el("button", { title: "It is not kept" }, "Own photo…");
    this.own.onclick = async () => {
      const file = await chooseFile(`${PICTURES},image/heic`);
      if (file) this.#take(file);
    };
    const named = { title: "Close", "aria-label": "Close the trial" };
    const close = el("button", { class: "small close", ...named }, "×");
    close.onclick = () => {
      this.running?.abort();
      this.#enlarge(false);
      this.root.hidden = true;
    };
    this.picture = el("img", { alt: "The composition", title: "Larger, smaller", hidden: true });
    this.picture.onclick = () => this.#enlarge();
    this.words = el("p", { class: "words", role: "status" });
    const head = el("header", {}, el("h2", {}, "Trial"), close, this.sample, this.own, this.where);
    this.root.replaceChildren(head, el("div", { class: "result" }, this.picture), this.words);
  }

  /** @param {File | null} portrait */
  #take(portrait) {
    this.portrait = portrait;
    this.run();
  }

  /** @param {boolean} [large] */
  #enlarge(large) {
    byId("desk").classList.toggle("large", large);
  }

  /** Follows the draft: what was tried may not be what is there now. */
  show() {
    const names = this.draft.values.slots.map((slot) => slot.name);
    if (this.slot && !names.includes(this.slot)) this.slot = "";
    const options = [["", "Best slot"], ...names.map((name) => [name, name])];
    this.where.replaceChildren(...options.map(([value, label]) => el("option", { value }, label)));
    this.where.value = this.slot;
    this.sample.setAttribute("aria-pressed", String(!this.portrait));
    this.own.setAttribute("aria-pressed", String(this.portrait !== null));
    this.root.classList.toggle("stale", this.tried !== null && this.tried !== this.draft.values);
  }

  /** Tries the slot that is selected, or the best one. */
  async start() {
    this.slot = this.draft.slot?.name ?? "";
    await this.run();
  }

  async run() {
    this.running?.abort();
    const running = (this.running = new AbortController());
    this.root.hidden = false;
    this.root.classList.add("busy");
    this.tried = this.draft.values;
    this.show();
    this.#say("Composing…");
    try {
      const form = this.draft.form(true);
      if (this.slot) form.append("slot", this.slot);
      if (this.portrait) form.append("portrait", this.portrait, "portrait");
      const { picture, facts } = await service.attempt(form, running.signal);
      URL.revokeObjectURL(this.picture.src);
      this.picture.src = URL.createObjectURL(picture);
      this.picture.hidden = false;
      this.#say(told(facts));
    } catch (error) {
      if (running.signal.aborted) return;
      this.picture.hidden = true;
      this.#say(/** @type {Error} */ (error).message, true);
    }
    if (running === this.running) this.root.classList.remove("busy");
  }

  #say(words, isError = false) {
    this.words.textContent = words;
    this.words.classList.toggle("error", isError);
  }
}

/** @param {{slots?: string[], score?: number, profile?: string, warnings?: string[]}} facts */
function told({ slots = [], score, profile, warnings = [] }) {
  const parts = [`Stands in ${slots.join(", ")}`];
  if (score !== undefined) parts.push(`harmony ${score.toFixed(2)}`);
  if (profile) parts.push(`profile ${profile}`);
  return [parts.join(" · "), ...warnings].join("\n");
}
