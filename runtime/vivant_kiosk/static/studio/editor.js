// @ts-check
/** The editor: the picture, the panels, the trial, and saving. */

import { ArtworkPanel } from "./artwork_panel.js";
import { Canvas } from "./canvas.js";
import { ask, byId } from "./elements.js";
import { showErrors } from "./fields.js";
import * as service from "./service.js";
import { SlotPanel } from "./slot_panel.js";
import { Trial } from "./trial.js";

const KEY = String.raw`(artwork|fallback|slot\[\d+\])\.(\w+): `;

/** A key and what is wrong with it, up to the next key. */
const PROBLEM = new RegExp(`(?:^|; )${KEY}(.*?)(?=; ${KEY}|$)`, "g");

/** @type {Editor | null} */
let open = null;

/** @param {import("./draft.js").Draft} draft @param {() => void} leave */
export function edit(draft, leave) {
  open = new Editor(draft, leave);
}

/** Whether something would be lost. */
export const hasChanges = () => open !== null && open.draft.changed;

class Editor {
  /** @param {import("./draft.js").Draft} draft @param {() => void} leave */
  constructor(draft, leave) {
    this.draft = draft;
    this.leave = leave;
    this.canvas = new Canvas(draft);
    this.trial = new Trial(draft);
    this.slots = new SlotPanel(byId("slots"), draft, (error) => this.#complain(error.message));
    this.artwork = this.#artworkPanel();
    this.keys = (/** @type {KeyboardEvent} */ event) => this.#key(event);
    addEventListener("keydown", this.keys);
    draft.addEventListener("change", () => this.show());
    byId("back").onclick = () => this.#back();
    byId("undo").onclick = () => draft.undo();
    byId("draw").onclick = () => this.canvas.draw(!this.canvas.isDrawing);
    byId("try").onclick = () => this.#try();
    byId("save").onclick = () => this.#save();
    byId("tab-slots").onclick = () => this.#turnTo("slots");
    byId("tab-artwork").onclick = () => this.#turnTo("artwork");
    this.#turnTo("slots");
    this.#complain("");
    this.show();
  }

  show() {
    const { draft } = this;
    byId("editor-title").textContent = draft.values.artwork.title || "Untitled";
    byId("editor-state").textContent = draft.changed ? "Not saved" : "Saved";
    byId("editor-state").classList.toggle("changed", draft.changed);
    /** @type {HTMLButtonElement} */ (byId("undo")).disabled = !draft.steps.length;
    byId("save").classList.toggle("idle", !draft.changed); // a field may hold a change yet
    this.canvas.show();
    this.slots.show();
    this.artwork.show();
    this.trial.show();
  }

  #artworkPanel() {
    const fail = (/** @type {Error} */ error) => this.#complain(error.message);
    return new ArtworkPanel(byId("artwork"), this.draft, { fail, remove: () => this.#remove() });
  }

  #turnTo(name) {
    for (const each of ["slots", "artwork"]) {
      byId(each).hidden = each !== name;
      byId(`tab-${each}`).setAttribute("aria-selected", String(each === name));
    }
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const typing = /** @type {HTMLElement} */ (event.target).closest("input, select, dialog");
    const control = event.ctrlKey || event.metaKey;
    if (control && event.key === "s") this.#save();
    else if (control && event.key === "z" && !typing) this.draft.undo();
    else if (!control && event.key === "n" && !typing) this.canvas.draw(true);
    else if (typing || !this.canvas.press(event)) return;
    event.preventDefault();
  }

  async #try() {
    this.#complain("");
    if (this.#lacksSlots()) return;
    await this.trial.start();
  }

  #lacksSlots() {
    if (this.draft.values.slots.length) return false;
    this.#turnTo("slots");
    this.#complain("Draw at least one slot: a place where a visitor stands.");
    return true;
  }

  #lacksNames() {
    const lacking = ["title", "id"].filter((name) => !this.draft.values.artwork[name]);
    this.#complain(lacking.map((name) => `artwork.${name}: It needs one.`).join("; "));
    return lacking.length > 0;
  }

  async #save() {
    const { draft } = this;
    this.#commit();
    this.#complain("");
    if (!draft.changed || this.#lacksSlots() || this.#lacksNames()) return;
    const button = /** @type {HTMLButtonElement} */ (byId("save"));
    button.disabled = true; // twice would be once too often
    byId("editor-state").textContent = "Saving…";
    const { values } = draft;
    try {
      if (draft.isNew) await this.#checkFree(values.artwork.id);
      const tables = await service.save(values.artwork.id, draft.form(false));
      draft.settle(tables);
      this.artwork = this.#artworkPanel(); // it can be deleted now, and not be renamed
    } catch (error) {
      this.#complain(/** @type {Error} */ (error).message);
      this.show();
    }
    button.disabled = false;
  }

  /** A new artwork must not replace another by accident. @param {string} id */
  async #checkFree(id) {
    const { artworks } = await service.list();
    if (artworks.some((each) => each.id === id)) {
      throw new Error(`artwork.id: '${id}' is that of another artwork; choose another`);
    }
  }

  /** A field that is being typed in has not told its value yet. */
  #commit() {
    const active = document.activeElement;
    if (active instanceof HTMLInputElement) active.dispatchEvent(new Event("change"));
  }

  async #remove() {
    const { id, title } = this.draft.values.artwork;
    const question = `Delete “${title}” with its picture and its slots? This cannot be undone.`;
    if (!(await ask(question, "Delete"))) return;
    try {
      await service.remove(id);
      this.#end();
    } catch (error) {
      this.#complain(/** @type {Error} */ (error).message);
    }
  }

  async #back() {
    this.#commit();
    const question = "Leave without saving? Your changes are lost.";
    if (!this.draft.changed || (await ask(question, "Leave"))) this.#end();
  }

  #end() {
    this.close();
    this.leave();
  }

  close() {
    removeEventListener("keydown", this.keys);
    this.canvas.close();
    this.trial.close();
    this.draft.close();
    open = null;
  }

  /** Shows what is wrong: at its field where there is one, above the picture otherwise. */
  #complain(message) {
    const [errors, first] = this.#sort(message);
    if (first) {
      this.#turnTo(first.page);
      if (first.slot >= 0) this.draft.select(first.slot);
    }
    const left = new Set([
      ...showErrors(byId("slots"), errors.slots),
      ...showErrors(byId("artwork"), errors.artwork),
    ]);
    const banner = byId("editor-error");
    const rest = [...left].map((key) => `${key}: ${errors.slots.get(key) ?? errors.artwork.get(key)}`);
    banner.textContent = errors.others.length || rest.length ? [...errors.others, ...rest].join("; ")
      : first ? "Some fields need another value." : "";
    document.querySelector(".field.wrong")?.scrollIntoView({ block: "nearest" });
  }

  #sort(message) {
    /** @type {Map<string, string>} */ const slots = new Map();
    /** @type {Map<string, string>} */ const artwork = new Map();
    const errors = { slots, artwork, /** @type {string[]} */ others: [] };
    /** @type {{page: string, slot: number} | null} */
    let first = null;
    const matches = [...message.matchAll(PROBLEM)];
    for (const [, table, key, words] of matches) {
      const slot = table.startsWith("slot") ? Number(table.slice(5, -1)) - 1 : -1;
      first ??= { page: slot >= 0 ? "slots" : "artwork", slot };
      if (slot < 0) artwork.set(`${table}.${key}`, words);
      else if (slot === first.slot) slots.set(`slot.${key}`, words);
      else errors.others.push(`${this.draft.values.slots[slot]?.name}: ${key} ${words}`);
    }
    if (!matches.length && message) errors.others.push(message);
    return /** @type {const} */ ([errors, first]);
  }
}
