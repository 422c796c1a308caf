// @ts-check
/** The list of slots, and the fields of the one that is selected. */

import { COLOURS } from "./canvas.js";
import { OCCLUDERS, SHOTS } from "./draft.js";
import { chooseFile, el, keepFocus } from "./elements.js";
import { Fields, field, group } from "./fields.js";
import { figureOf } from "./figure.js";
import { coverOfEdge, isOpaque, readOccluder } from "./occluders.js";

/** Share of a box's lower edge that an occluder has to cover to hide where a visitor is cut. */
const HIDES = 0.85;

const PICTURE_EDGE = 0.99;

const SHOT_CHOICES = SHOTS.map((shot) => /** @type {[string, string]} */ ([shot, shot]));
const SIDES = [
  ["x", "Left"],
  ["y", "Top"],
  ["width", "Width"],
  ["height", "Height"],
];
const percent = (share) => Math.round(share * 1e4) / 100;

export class SlotPanel {
  /**
   * @param {HTMLElement} page
   * @param {import("./draft.js").Draft} draft
   * @param {(error: Error) => void} fail
   */
  constructor(page, draft, fail) {
    this.page = page;
    this.draft = draft;
    this.fail = fail;
    this.shown = "";
    this.fields = new Fields();
    this.list = el("div", {});
    this.form = el("div", { class: "form" });
    page.replaceChildren(this.list, this.form);
    this.show();
  }

  show() {
    const { draft } = this;
    keepFocus(this.list, () => this.list.replaceChildren(this.#list()));
    this.list.querySelector("[aria-pressed=true]")?.scrollIntoView({ block: "nearest" });
    const fitted = draft.slot?.head_height === null;
    const occluders = draft.occluders.map((each) => each.url);
    const now = JSON.stringify([draft.selected, draft.values.slots.length, occluders, fitted]);
    if (now === this.shown) {
      this.fields.refresh();
      return;
    }
    this.shown = now;
    this.fields = new Fields();
    keepFocus(this.form, () => this.form.replaceChildren(...(draft.slot ? this.#fields() : [])));
  }

  #list() {
    const { draft } = this;
    const items = draft.values.slots.map((slot, at) => {
      const mark = el("span", { class: "mark" });
      mark.style.background = COLOURS[at % COLOURS.length];
      const options = { class: "item", "aria-pressed": String(at === draft.selected) };
      const button = el("button", options, mark, slot.name);
      button.onclick = () => draft.select(at);
      return el("li", {}, button);
    });
    if (items.length) return el("ul", { class: "items" }, ...items);
    const hint = "Draw a box over the picture with the mouse: a place where a visitor stands.";
    return el("p", { class: "empty" }, hint);
  }

  get #slot() {
    return /** @type {import("./draft.js").Slot} */ (this.draft.slot);
  }

  #get(read) {
    return () => (this.draft.slot ? read(this.draft.slot) : "");
  }

  #set(name) {
    return (value, again) => this.draft.changeSlot({ [name]: value }, again);
  }

  #fields() {
    const { fields } = this;
    const pair = (name) => [this.#get((slot) => slot[name]), this.#set(name)];
    const [anchor, flip, priority, z, shadow] = ["anchor", "flip", "priority", "z", "shadow"].map(pair);
    const rename = (value) => (value ? this.draft.changeSlot({ name: value }) : fields.refresh());
    const anchors = [
      ["bottom-left", "Left"],
      ["bottom-center", "Centre"],
      ["bottom-right", "Right"],
    ];
    const flips = [
      ["auto", "To face the picture's middle"],
      ["never", "Never"],
      ["always", "Always"],
    ];
    const shots = fields.several(this.#get((slot) => slot.shot), SHOT_CHOICES, (shot) =>
      this.draft.changeSlot({ shot: SHOTS.filter((each) => shot.includes(each)) }));
    const ranks = { min: -1000, max: 1000 };
    const shadows = fields.range(...shadow, { min: 0, max: 1, step: 0.05 });
    const copy = el("button", { title: "A new slot like this one, beside it" }, "Duplicate");
    copy.onclick = () => this.#duplicate();
    const remove = el("button", { class: "danger", title: "Delete" }, "Delete slot");
    remove.onclick = () => this.draft.removeSlot();
    return [
      field("slot.name", "Name", fields.text(this.#get((slot) => slot.name), rename)),
      group("slot.shot", "For photos that show", shots),
      group("slot.people", "People", this.#people()),
      this.#head(),
      group("slot.anchor", "Where in the box", fields.choice(anchor[0], anchors, anchor[1])),
      fields.notice(() => this.#warning()),
      this.#occluder(),
      field("slot.flip", "Mirror the visitor", fields.select(flip[0], flips, flip[1])),
      group("slot.box", "Box, % of the picture", this.#box()),
      el("div", { class: "pair" },
        field("slot.priority", "Priority", fields.number(...priority, ranks), "Highest first."),
        field("slot.z", "Depth", fields.number(...z, ranks), "Lowest farthest.")),
      field("slot.shadow", "Shadow under the feet", shadows),
      el("div", { class: "actions" }, copy, remove),
    ];
  }

  #people() {
    const set = (at) => (value) => {
      const [least, most] = this.#slot.people;
      const people = at ? [Math.min(least, value), value] : [value, Math.max(most, value)];
      this.draft.changeSlot({ people: /** @type {[number, number]} */ (people) });
    };
    const input = (at, label) => {
      const options = { min: 1, max: 20, "aria-label": label };
      return this.fields.number(this.#get((slot) => slot.people[at]), set(at), options);
    };
    return [input(0, "Least people"), el("span", {}, "to"), input(1, "Most people")];
  }

  #box() {
    return SIDES.map(([name, label], side) => {
      const set = (value) => {
        const box = /** @type {import("./boxes.js").Box} */ ([...this.#slot.box]);
        box[side] = value / 100;
        if (side < 2) box[side] = Math.min(box[side], 1 - box[side + 2]);
        else box[side] = Math.min(box[side], 1 - box[side - 2]);
        box[side] = Math.round(box[side] * 1e4) / 1e4;
        this.draft.changeSlot({ box });
      };
      const least = side < 2 ? 0 : 2;
      const control = this.fields.number(this.#get((slot) => percent(slot.box[side])), set,
        { min: least, max: 100, step: 0.1, "aria-label": `Box ${name}` });
      return el("label", { class: "side" }, label, control);
    });
  }

  #head() {
    const { draft, fields } = this;
    const fitted = this.#slot.head_height === null;
    const toggle = el("input", { type: "checkbox", checked: fitted });
    toggle.onchange = () => {
      const { picture } = draft.values;
      const head = figureOf(this.#slot, this.#slot.shot[0], picture).head / picture.height;
      const kept = Math.min(Math.max(Math.round(head * 1000) / 1000, 0.01), 1);
      draft.changeSlot({ head_height: toggle.checked ? null : kept });
    };
    const fit = el("label", { class: "chip" }, toggle, "Fit to the box");
    if (fitted) return group("slot.head_height", "Head height", [fit]);
    const get = this.#get((slot) => percent(slot.head_height ?? 0.01));
    const set = (value, again = false) =>
      draft.changeSlot({ head_height: Math.round(value * 100) / 1e4 }, again);
    const limits = { min: 1, step: 0.1 };
    const slider = fields.range(get, set, { ...limits, max: 50, "aria-label": "Head height, coarse" });
    const exact = fields.number(get, set, { ...limits, max: 100, "aria-label": "Head height, %" });
    const hint = "Of the picture's height, hair to chin.";
    const controls = [fit, slider, exact, el("span", {}, "%")];
    const root = group("slot.head_height", "Head height", controls, hint);
    const narrow = "The box is too narrow for this head: visitors come out smaller.";
    const limited = () =>
      draft.slot && figureOf(draft.slot, draft.slot.shot[0], draft.values.picture).limited;
    root.append(fields.notice(() => (limited() ? narrow : "")));
    return root;
  }

  #occluder() {
    const { draft, fields } = this;
    const known = draft.occluders;
    const choices = [["", "Nothing"], ...known.map((each, at) => [String(at), each.label])];
    const get = this.#get((slot) => (slot.occluder ? String(known.indexOf(slot.occluder)) : ""));
    const set = (value) => draft.changeSlot({ occluder: known[value] ?? null });
    const upload = el("button", {}, "Add…");
    upload.onclick = () => this.#upload();
    const hint = "The picture with all else made transparent; PNG or WebP of its size.";
    return field("slot.occluder", "In front of the visitor", fields.select(get, choices, set), hint, upload);
  }

  async #upload() {
    const file = await chooseFile(OCCLUDERS);
    if (!file) return;
    try {
      const label = file.name.replace(/\.[^.]*$/, "");
      const occluder = await readOccluder(file, null, label);
      const { width, height } = this.draft.values.picture;
      if (occluder.width !== width || occluder.height !== height) {
        const own = `${occluder.width} × ${occluder.height}`;
        const sizes = `${file.name} is ${own}, the picture ${width} × ${height}`;
        throw new Error(`${sizes}; save it at the picture's size.`);
      }
      if (isOpaque(occluder)) {
        throw new Error(`${file.name} is nowhere transparent, it would hide the visitor.`);
      }
      this.draft.changeSlot({ occluder });
    } catch (error) {
      this.fail(/** @type {Error} */ (error));
    }
  }

  /** What would leave a visitor floating in the air. */
  #warning() {
    const { slot } = this.draft;
    if (!slot) return "";
    const isCut = slot.shot.some((shot) => shot !== "full-body");
    if (!isCut || slot.box[1] + slot.box[3] >= PICTURE_EDGE) return "";
    const who = "Whoever the photo cuts off would float here";
    if (!slot.occluder) {
      return `${who}: let the box end at the picture's lower edge, or put something in front.`;
    }
    const cover = coverOfEdge(slot.occluder, slot.box);
    if (cover >= HIDES) return "";
    return `${who}: what is in front covers ${Math.floor(100 * cover)} % of the box's lower edge; `
      + `${100 * HIDES} % hide the cut.`;
  }

  #duplicate() {
    const slot = this.#slot;
    const [x, y, width, height] = slot.box;
    const aside = x + width + 0.03 <= 1 ? x + 0.03 : Math.max(0, x - 0.03);
    this.draft.addSlot([Math.round(aside * 1e4) / 1e4, y, width, height], slot);
  }
}
