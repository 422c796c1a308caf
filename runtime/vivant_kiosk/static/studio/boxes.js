// @ts-check
/** Boxes: [x, y, width, height] as shares of the picture. */

/** @typedef {[number, number, number, number]} Box */

export const LEAST_SIDE = 0.02;

const SNAP = 0.012;

const bounded = (value, least, most) => Math.min(Math.max(value, least), Math.max(most, least));

/** What a file keeps: four decimals, and never beyond the picture. @param {Box} box @returns {Box} */
export function rounded([x, y, width, height]) {
  const round = (value) => Math.round(value * 1e4) / 1e4;
  const left = round(bounded(x, 0, 1 - LEAST_SIDE));
  const top = round(bounded(y, 0, 1 - LEAST_SIDE));
  return [
    left,
    top,
    round(bounded(width, LEAST_SIDE, 1 - left)),
    round(bounded(height, LEAST_SIDE, 1 - top)),
  ];
}

/** The box between two points, which snap to the picture's edges. @returns {Box} */
export function spanned(x1, y1, x2, y2) {
  const [left, right] = [snapped(Math.min(x1, x2)), snapped(Math.max(x1, x2))];
  const [top, bottom] = [snapped(Math.min(y1, y2)), snapped(Math.max(y1, y2))];
  return rounded([left, top, right - left, bottom - top]);
}

/** @param {Box} box @returns {Box} */
export function moved([x, y, width, height], dx, dy, snap = true) {
  const place = (start, side) => {
    const free = bounded(start, 0, 1 - side);
    if (!snap) return free;
    return free < SNAP ? 0 : 1 - side - free < SNAP ? 1 - side : free;
  };
  return rounded([place(x + dx, width), place(y + dy, height), width, height]);
}

/**
 * Moves the sides that a handle names: some of "n", "e", "s", "w".
 * @param {Box} box
 * @param {string} handle
 * @returns {Box}
 */
export function resized([x, y, width, height], handle, dx, dy, snap = true) {
  const at = snap ? snapped : (value) => bounded(value, 0, 1);
  let [left, top, right, bottom] = [x, y, x + width, y + height];
  if (handle.includes("w")) left = Math.min(at(left + dx), right - LEAST_SIDE);
  if (handle.includes("e")) right = Math.max(at(right + dx), left + LEAST_SIDE);
  if (handle.includes("n")) top = Math.min(at(top + dy), bottom - LEAST_SIDE);
  if (handle.includes("s")) bottom = Math.max(at(bottom + dy), top + LEAST_SIDE);
  return rounded([left, top, right - left, bottom - top]);
}

/** @param {number} value */
function snapped(value) {
  return value < SNAP ? 0 : value > 1 - SNAP ? 1 : value;
}

/** @param {Box} box */
export const area = ([, , width, height]) => width * height;

/** @param {Box} box */
export const contains = ([x, y, width, height], px, py) =>
  px >= x && px <= x + width && py >= y && py <= y + height;
