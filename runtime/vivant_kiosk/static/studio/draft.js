// @ts-check
/** The artwork that is being edited: its values, what they were before, and what is sent. */

import * as service from "./service.js";
import { readImage, readOccluder } from "./occluders.js";

/**
 * @typedef {object} Slot
 * @property {string} name
 * @property {string[]} shot
 * @property {import("./boxes.js").Box} box
 * @property {[number, number]} people
 * @property {string} anchor
 * @property {number | null} head_height
 * @property {string} flip
 * @property {import("./occluders.js").Occluder | null} occluder
 * @property {number} priority
 * @property {number} shadow
 * @property {number} z
 */

/**
 * @typedef {object} Values what can be undone; never changed, only replaced
 * @property {Record<string, any>} artwork
 * @property {Slot[]} slots
 * @property {string[]} fallback
 * @property {Picture} picture
 */

/**
 * @typedef {object} Picture
 * @property {Blob} file
 * @property {string | null} name of a file of the saved artwork
 * @property {string} url
 * @property {number} width
 * @property {number} height
 */

export const SHOTS = ["close-up", "half-body", "full-body"];

export const PICTURES = "image/jpeg,image/png,image/webp";

export const OCCLUDERS = "image/png,image/webp";

const MOST_OCCLUDERS = 4;

const DEFAULTS = {
  people: [1, 1],
  anchor: "bottom-center",
  head_height: null,
  flip: "auto",
  occluder: null,
  priority: 0,
  shadow: 0.4,
  z: 0,
};
const FALLBACK = ["half-body", "close-up", "full-body"];
const KEPT_STEPS = 100;

export class Draft extends EventTarget {
  /** @param {Values} values @param {boolean} isNew */
  constructor(values, isNew) {
    super();
    this.values = values;
    this.isNew = isNew;
    /** Which slot is selected, or -1. */
    this.selected = values.slots.length ? 0 : -1;
    /** @type {Values[]} */
    this.steps = [];
    this.saved = isNew ? "" : this.#written();
  }

  get slot() {
    return this.values.slots[this.selected] ?? null;
  }

  get changed() {
    return this.saved !== this.#written();
  }

  /** Every occluder that a slot has, each once. */
  get occluders() {
    return [...new Set(this.values.slots.map((slot) => slot.occluder))].filter((each) => each !== null);
  }

  /** @param {number} selected */
  select(selected) {
    if (selected === this.selected) return;
    this.selected = selected;
    this.#tell();
  }

  /**
   * Replaces some values.
   * @param {Partial<Values>} change
   * @param {boolean} [again] it goes on with the change before: one step to undo
   */
  change(change, again = false) {
    if (!again) {
      this.steps.push(this.values);
      if (this.steps.length > KEPT_STEPS) this.steps.shift();
    }
    this.values = { ...this.values, ...change };
    this.#tell();
  }

  /** @param {Record<string, any>} change */
  changeArtwork(change) {
    this.change({ artwork: { ...this.values.artwork, ...change } });
  }

  /** @param {Partial<Slot>} change @param {boolean} [again] */
  changeSlot(change, again = false) {
    const slots = this.values.slots.map((slot, at) =>
      at === this.selected ? { ...slot, ...change } : slot,
    );
    this.change({ slots }, again);
  }

  /** @param {import("./boxes.js").Box} box @param {Partial<Slot>} [like] */
  addSlot(box, like = {}) {
    const taken = new Set(this.values.slots.map((slot) => slot.name));
    const stem = like.name ? like.name.replace(/-\d+$/, "") : "place";
    let number = like.name ? 2 : 1;
    while (taken.has(`${stem}-${number}`)) number++;
    const shot = [box[1] + box[3] >= 0.99 || box[3] < 0.45 ? "half-body" : "full-body"];
    const slot = { shot, ...DEFAULTS, ...like, name: `${stem}-${number}`, box };
    this.selected = this.values.slots.length;
    this.change({ slots: [...this.values.slots, /** @type {Slot} */ (slot)] });
  }

  removeSlot() {
    if (!this.slot) return;
    const slots = this.values.slots.filter((_, at) => at !== this.selected);
    this.selected = Math.min(this.selected, slots.length - 1);
    this.change({ slots });
  }

  undo() {
    const before = this.steps.pop();
    if (!before) return;
    this.values = before;
    this.selected = Math.min(this.selected, before.slots.length - 1);
    if (this.selected < 0 && before.slots.length) this.selected = 0;
    this.#tell();
  }

  /**
   * The form that saves or tries this artwork.
   * @param {boolean} trial an id and a title may still be missing
   */
  form(trial) {
    const form = new FormData();
    const unsaved = this.occluders.filter((each) => each.name === null);
    if (unsaved.length > MOST_OCCLUDERS) {
      const most = `at most ${MOST_OCCLUDERS} new occluders at a time`;
      throw new service.Problem(0, `${most}: save before you add more`);
    }
    const tables = this.tables((occluder) => occluder.name ?? unsaved.indexOf(occluder) + 1);
    if (trial) {
      tables.artwork.id ||= "draft";
      tables.artwork.title ||= "Draft";
    }
    const { picture } = this.values;
    if (picture.name) tables.artwork.image = picture.name;
    else form.append("picture", picture.file, "picture");
    form.append("artwork", JSON.stringify(tables));
    unsaved.forEach((each, at) => form.append(`occluder-${at + 1}`, each.file, "occluder"));
    return form;
  }

  /**
   * What the artwork's file will hold; keys without a value are left out.
   * @param {(occluder: import("./occluders.js").Occluder) => string | number} refer
   */
  tables(refer) {
    const { artwork, slots, fallback } = this.values;
    const filled = Object.entries(artwork).filter(([, value]) => value !== "" && value !== null);
    /** @type {Record<string, any>} */
    const own = Object.fromEntries(filled);
    const slot = slots.map((each) => {
      const { name, shot, people, box, anchor, head_height, flip, occluder, priority, shadow, z } = each;
      /** @type {Record<string, any>} */
      const table = { name, shot, people, box, anchor, flip, priority };
      if (head_height !== null) table.head_height = head_height;
      if (occluder) table.occluder = refer(occluder);
      if (shadow !== DEFAULTS.shadow) table.shadow = shadow;
      if (z !== DEFAULTS.z) table.z = z;
      return table;
    });
    return { artwork: own, slot, fallback: fallback.length ? { order: fallback } : {} };
  }

  /** Takes the names that the saved files got; those that only an undo brings back have none. */
  settle(tables) {
    const { picture, slots } = this.values;
    for (const each of this.steps.flatMap(filesOf)) each.name = null;
    picture.name = tables.artwork.image;
    slots.forEach(({ occluder }, at) => occluder && (occluder.name = tables.slot[at].occluder));
    this.isNew = false;
    this.saved = this.#written();
    this.#tell();
  }

  /** Lets go of the pictures. */
  close() {
    for (const each of [...this.steps, this.values].flatMap(filesOf)) URL.revokeObjectURL(each.url);
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }

  #written() {
    return JSON.stringify([this.tables((occluder) => occluder.url), this.values.picture.url]);
  }
}

/** @param {Values} values @returns {(Picture | import("./occluders.js").Occluder)[]} */
function filesOf({ picture, slots }) {
  return [picture, ...slots.flatMap((slot) => slot.occluder ?? [])];
}

/** Returns the draft of a new artwork. @param {File} file */
export async function draftOf(file) {
  const picture = await readPicture(file, null);
  const stem = file.name.replace(/\.[^.]*$/, "");
  const words = stem.replace(/[_\s-]+/g, " ").trim();
  const artwork = {
    id: slug(stem),
    title: words.charAt(0).toUpperCase() + words.slice(1),
    artist: "",
    year: "",
    credit: "",
    licence: "",
    output_height: Math.min(2160, Math.max(1080, picture.height)),
    people: "together",
  };
  return new Draft({ artwork, slots: [], fallback: FALLBACK, picture }, true);
}

/** Returns the draft of an artwork that is on show. @param {string} id */
export async function draftFrom(id) {
  const tables = await service.tables(id);
  const { image, ...artwork } = tables.artwork;
  const picture = await readPicture(await service.file(artwork.id, image), image);
  const names = [...new Set(tables.slot.map((slot) => slot.occluder).filter(Boolean))];
  const read = async (name) =>
    readOccluder(await service.file(artwork.id, name), name, name.replace(/\.[^.]*$/, ""));
  const occluders = new Map(
    await Promise.all(names.map(async (name) => /** @type {const} */ ([name, await read(name)]))),
  );
  const slots = tables.slot.map((slot) => ({
    ...DEFAULTS,
    ...slot,
    occluder: occluders.get(slot.occluder) ?? null,
  }));
  const known = { artist: "", year: "", credit: "", licence: "", output_height: null };
  const own = { people: "together", ...known, ...artwork };
  return new Draft({ artwork: own, slots, fallback: tables.fallback.order ?? [], picture }, false);
}

/** @param {Blob} file @param {string | null} name @returns {Promise<Picture>} */
export async function readPicture(file, name) {
  const image = await readImage(file);
  const { src: url, naturalWidth: width, naturalHeight: height } = image;
  return { file, name, url, width, height };
}

/** @param {string} text */
export function slug(text) {
  const plain = text.normalize("NFKD").replace(/[\u0300-\u036f]/g, "");
  return plain.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 64);
}
