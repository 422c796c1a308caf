/** How high pictures in rows can be. */

/**
 * Find the largest height at which pictures of these shapes fit a wall, row after row.
 *
 * @param {number[]} shapes width over height, in their order.
 * @param {{width: number, height: number, gap: number, below: number, least: number}} wall pixels;
 *   ``below``: for what stands under a picture; ``least``: where that does not fit, they scroll.
 * @returns {number} pixels.
 */
export function rowHeight(shapes, { width, height, gap, below, least }) {
  let [low, high] = [least, height];
  while (high - low > 1) {
    const middle = (low + high) / 2;
    const rows = countRows(shapes.map((shape) => shape * middle), width, gap);
    if (rows * (middle + below) <= height + gap) low = middle;
    else high = middle;
  }
  return Math.floor(Math.min(low, width / Math.max(...shapes)));
}

/** @param {number[]} widths @param {number} width @param {number} gap */
function countRows(widths, width, gap) {
  let [rows, used] = [1, 0];
  for (const each of widths) {
    if (each > width) return Infinity;
    if (used && used + gap + each > width) [rows, used] = [rows + 1, 0];
    used += (used && gap) + each;
  }
  return rows;
}
