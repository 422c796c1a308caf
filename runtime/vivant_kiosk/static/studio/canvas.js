// @ts-check
/** The picture with its slots: drawn, moved and resized with the mouse or with arrow keys. */

import { area, contains, moved, resized, rounded, spanned, LEAST_SIDE } from "./boxes.js";
import { byId, el, svg } from "./elements.js";
import { drawFigures } from "./figure.js";

/** One a slot, in turn; as vivant.preview draws them. */
const COLOURS = ["#ffd23f", "#3bceac", "#ff5d73", "#a99bff", "#ff9f1c", "#4cc9f0"];

const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP = 0.001;

export class Canvas {
  /** @param {import("./draft.js").Draft} draft */
  constructor(draft) {
    this.draft = draft;
    this.room = byId("easel");
    this.root = byId("canvas");
    this.picture = el("img", { alt: "The picture", draggable: false });
    this.drawing = svg("svg", { "aria-hidden": "true" });
    this.mask = el("div", { class: "occluder", hidden: true });
    this.boxes = el("div", { class: "boxes" });
    this.root.replaceChildren(this.picture, this.drawing, this.mask, this.boxes);
    this.watch = new ResizeObserver(() => {
      this.#fit();
      this.#showSelected();
    });
    this.watch.observe(this.room);
    this.root.onpointerdown = (event) => this.#begin(event);
    this.isDrawing = false;
    this.show();
  }

  close() {
    this.watch.disconnect();
    this.root.replaceChildren();
  }

  /** Whether the next drag draws a slot, wherever it begins. @param {boolean} on */
  draw(on) {
    this.isDrawing = on;
    this.root.classList.toggle("drawing", on);
    byId("draw").setAttribute("aria-pressed", String(on));
  }

  show() {
    const { picture, slots } = this.draft.values;
    if (this.picture.getAttribute("src") !== picture.url) this.picture.src = picture.url;
    this.drawing.setAttribute("viewBox", `0 0 ${picture.width} ${picture.height}`);
    this.#fit();
    const order = slots.map((_, at) => at).sort((a, b) => area(slots[b].box) - area(slots[a].box));
    const focused = this.boxes.contains(document.activeElement);
    this.boxes.replaceChildren(...order.map((at) => this.#box(slots[at], at)));
    this.boxes.append(...this.boxes.querySelectorAll(".selected")); // above the others
    if (focused) this.focus();
    this.#showSelected();
  }

  focus() {
    const selected = /** @type {HTMLElement | null} */ (this.boxes.querySelector(".selected"));
    selected?.focus({ preventScroll: true });
  }

  #showSelected() {
    const { slot, selected, values } = this.draft;
    const { picture } = values;
    this.drawing.replaceChildren();
    this.mask.hidden = !slot?.occluder;
    if (!slot) return;
    const line = (1.5 * picture.width) / Math.max(this.root.clientWidth, 1);
    this.drawing.append(drawFigures(slot, picture, line, COLOURS[selected % COLOURS.length]));
    if (slot.occluder) this.mask.style.maskImage = `url("${slot.occluder.url}")`;
  }

  #fit() {
    const { width, height } = this.draft.values.picture;
    const scale = Math.min(this.room.clientWidth / width, this.room.clientHeight / height);
    this.root.style.width = `${Math.floor(width * scale)}px`;
    this.root.style.height = `${Math.floor(height * scale)}px`;
  }

  /** @param {import("./draft.js").Slot} slot @param {number} at */
  #box(slot, at) {
    const selected = at === this.draft.selected;
    const name = el("span", { class: "name" }, slot.name);
    const box = el("div", {
      class: selected ? "box selected" : "box",
      tabIndex: selected ? 0 : -1,
      role: "group",
      "aria-label": `Slot ${slot.name}`,
    });
    box.append(name);
    box.dataset.at = String(at);
    box.style.setProperty("--colour", COLOURS[at % COLOURS.length]);
    const [x, y, width, height] = slot.box.map((share) => `${100 * share}%`);
    Object.assign(box.style, { left: x, top: y, width, height });
    box.classList.toggle("high", slot.box[1] < 0.04);
    if (selected) {
      box.append(el("i", { class: slot.anchor }));
      box.append(...HANDLES.map((handle) => el("b", { class: `handle ${handle}` })));
      for (const each of box.querySelectorAll(".handle")) each.dataset.handle = each.classList[1];
    }
    return box;
  }

  /** Where the pointer is, in shares of the picture. @param {PointerEvent} event */
  #point(event) {
    const { left, top, width, height } = this.root.getBoundingClientRect();
    return [(event.clientX - left) / width, (event.clientY - top) / height];
  }

  /** The slot to take at a point: the selected one, or the smallest. */
  #slotAt(x, y) {
    const { slots } = this.draft.values;
    if (this.draft.slot && contains(this.draft.slot.box, x, y)) return this.draft.selected;
    const hit = slots.map((_, at) => at).filter((at) => contains(slots[at].box, x, y));
    return hit.sort((a, b) => area(slots[a].box) - area(slots[b].box))[0] ?? -1;
  }

  /** @param {PointerEvent} event */
  #begin(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    const target = /** @type {HTMLElement} */ (event.target);
    const [x, y] = this.#point(event);
    const handle = target.dataset.handle;
    const named = target.classList.contains("name") && target.parentElement?.dataset.at;
    const at = named ? Number(named) : handle ? this.draft.selected : this.#slotAt(x, y);
    this.root.setPointerCapture(event.pointerId);
    if (this.isDrawing || at < 0) this.#drawFrom(x, y);
    else this.#drag(at, handle, x, y);
  }

  #drag(at, handle, x, y) {
    this.draft.select(at);
    const from = this.draft.values.slots[at].box;
    let begun = false;
    this.#follow((px, py) => {
      const change = handle ? resized(from, handle, px - x, py - y) : moved(from, px - x, py - y);
      if (!begun && change.every((value, side) => value === from[side])) return;
      this.draft.changeSlot({ box: change }, begun);
      begun = true;
    });
    this.focus();
  }

  #drawFrom(x, y) {
    const sketch = el("div", { class: "box sketch" });
    this.boxes.append(sketch);
    /** @type {import("./boxes.js").Box | null} */
    let box = null;
    const draw = (px, py) => {
      box = spanned(x, y, px, py);
      const [left, top, width, height] = box.map((share) => `${100 * share}%`);
      Object.assign(sketch.style, { left, top, width, height });
    };
    this.#follow(draw, () => {
      sketch.remove();
      this.draw(false);
      if (box && Math.min(box[2], box[3]) > LEAST_SIDE) this.draft.addSlot(box);
      else this.draft.select(-1);
      this.focus();
    });
  }

  /** Calls ``move`` with every point until the button is let go. */
  #follow(move, end = () => {}) {
    this.root.onpointermove = (event) => move(...this.#point(event));
    const stop = () => {
      this.root.onpointermove = this.root.onpointerup = this.root.onpointercancel = null;
      end();
    };
    this.root.onpointerup = this.root.onpointercancel = stop;
  }

  /**
   * Moves, resizes or deletes the selected slot.
   * @param {KeyboardEvent} event
   * @returns {boolean} whether the key was for that
   */
  press(event) {
    const { slot } = this.draft;
    if (!slot || event.ctrlKey || event.metaKey) return false;
    const arrow = ARROWS[event.key];
    if (arrow) {
      const step = event.shiftKey ? 10 * STEP : STEP;
      const [dx, dy] = arrow.map((way) => way * step);
      const box = event.altKey ? resized(slot.box, "se", dx, dy, false) : moved(slot.box, dx, dy, false);
      this.draft.changeSlot({ box: rounded(box) }, event.repeat);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.draft.removeSlot();
    } else if (event.key === "Escape") {
      this.draft.select(-1);
    } else {
      return false;
    }
    return true;
  }
}

export { COLOURS };
