// @ts-check
/** The ghost in a slot: who would stand there, and how large. */

import { svg } from "./elements.js";

/** How much of a figure shows, in heads from the hair down; as vivant.preview draws it. */
const VISIBLE_HEADS = { "close-up": 1.8, "half-body": 4.0, "full-body": 7.5 };

/** Below the head: x1, y1, x2, y2 and corner radius in heads, from the hair's middle. */
const LIMBS = [
  [-0.2, 0.7, 0.2, 1.5, 0],
  [-0.98, 1.25, 0.98, 4.2, 0.55],
  [-0.65, 3.5, -0.03, 7.5, 0.2],
  [0.03, 3.5, 0.65, 7.5, 0.2],
];

const PERSON_WIDTH = 2.1;

/** By how much a visitor may be wider than a box where nothing hides the sides. */
const WIDTH_TOLERANCE = 1.25;

/**
 * @typedef {object} Figure
 * @property {string} shot
 * @property {number} head in pixels of the picture
 * @property {number} hair row of the hair
 * @property {number[]} middles column of each person
 * @property {boolean} limited the box is too narrow for the head height that was asked for
 */

/**
 * Returns the figure of a shot type in a slot.
 * @param {import("./draft.js").Slot} slot
 * @param {string} shot
 * @param {{width: number, height: number}} picture
 * @returns {Figure}
 */
export function figureOf(slot, shot, picture) {
  const [x, y, width, height] = slot.box;
  const [left, top] = [x * picture.width, y * picture.height];
  const [right, bottom] = [left + width * picture.width, top + height * picture.height];
  const people = slot.people[0];
  const heads = VISIBLE_HEADS[shot];
  const standing = shot === "full-body";
  const open = standing || y + height >= 0.99;
  const byWidth = (right - left) / (people * PERSON_WIDTH);
  const wanted = slot.head_height === null ? (bottom - top) / heads : slot.head_height * picture.height;
  const most = byWidth * (open && slot.head_height !== null ? WIDTH_TOLERANCE : 1);
  const head = Math.min(wanted, most);
  const across = people * PERSON_WIDTH * head;
  const start = {
    "bottom-left": left,
    "bottom-center": (left + right - across) / 2,
    "bottom-right": right - across,
  }[slot.anchor];
  const middles = Array.from({ length: people }, (_, at) => start + (at + 0.5) * PERSON_WIDTH * head);
  const hair = standing ? bottom - heads * head : Math.max(top, bottom - heads * head);
  return { shot, head, hair, middles, limited: wanted > most * 1.01 };
}

/**
 * Returns the drawing of a slot's figures: its first shot type filled, the others in outline.
 * @param {import("./draft.js").Slot} slot
 * @param {{width: number, height: number}} picture
 * @param {number} line width of a line, in pixels of the picture
 * @param {string} colour
 * @returns {SVGElement}
 */
export function drawFigures(slot, picture, line, colour) {
  const bottom = (slot.box[1] + slot.box[3]) * picture.height;
  const clip = `clip-${Math.random().toString(36).slice(2)}`;
  const group = svg("g", { "clip-path": `url(#${clip})` });
  const room = { x: 0, y: -picture.height, width: picture.width, height: picture.height + bottom };
  const whole = svg("g", {}, svg("clipPath", { id: clip }, svg("rect", room)), group);
  slot.shot.forEach((shot, at) => {
    const figure = figureOf(slot, shot, picture);
    group.append(...drawFigure(figure, bottom, line, colour, at === 0));
    if (at === 0) whole.append(drawMeasure(figure, line, picture));
  });
  return whole;
}

/** @returns {SVGElement[]} */
function drawFigure(figure, bottom, line, colour, filled) {
  const shapes = () => figure.middles.flatMap((middle) => shapesOf(figure, middle, bottom));
  const id = `figure-${Math.random().toString(36).slice(2)}`;
  const fat = svg("g", { fill: "#fff", stroke: "#fff", "stroke-width": 2 * line }, ...shapes());
  const thin = svg("g", { fill: "#000" }, ...shapes());
  const room = { x: "-100%", y: "-100%", width: "300%", height: "300%" };
  const everywhere = { maskUnits: "userSpaceOnUse", ...room };
  const drawn = [svg("mask", { id, ...everywhere }, fat, thin)];
  if (filled) drawn.push(svg("g", { fill: colour, opacity: 0.42 }, ...shapes()));
  const opacity = filled ? 1 : 0.75;
  drawn.push(svg("rect", { ...room, fill: colour, opacity, mask: `url(#${id})` }));
  return drawn;
}

/** @returns {SVGElement[]} */
function shapesOf({ shot, head, hair }, middle, bottom) {
  const limbs = LIMBS.map(([x1, y1, x2, y2, radius]) => {
    const end = shot === "full-body" ? hair + y2 * head : bottom + 2 * head;
    return svg("rect", {
      x: middle + x1 * head,
      y: hair + y1 * head,
      width: (x2 - x1) * head,
      height: Math.max(0, end - hair - y1 * head),
      rx: radius * head,
    });
  });
  const face = { cx: middle, cy: hair + 0.5 * head, rx: 0.37 * head, ry: 0.5 * head };
  return [svg("ellipse", face), ...limbs];
}

/** The head's height, as a measure beside the first head. */
function drawMeasure({ head, hair, middles }, line, picture) {
  const x = middles[0] - 0.55 * head;
  const tick = 0.09 * head;
  const path = `M${x - tick} ${hair}h${2 * tick}m${-tick} 0v${head}m${-tick} 0h${2 * tick}`;
  const size = 8 * line;
  const label = svg("text", {
    x: middles[0],
    y: hair + head / 2,
    "font-size": size,
    "text-anchor": "middle",
    "dominant-baseline": "central",
    "paint-order": "stroke",
    stroke: "#000",
    "stroke-width": size / 4,
    "stroke-linejoin": "round",
    fill: "#fff",
  });
  label.textContent = `${((100 * head) / picture.height).toFixed(1)} %`;
  const dark = svg("path", { d: path, fill: "none", stroke: "#000", "stroke-width": 2.6 * line });
  const light = svg("path", { d: path, fill: "none", stroke: "#fff", "stroke-width": line });
  return svg("g", {}, dark, light, label);
}
