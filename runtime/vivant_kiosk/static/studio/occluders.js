// @ts-check
/** Occluders: pictures in front of a visitor. What matters of them here is their alpha. */

import { Problem } from "./service.js";

/**
 * @typedef {object} Occluder
 * @property {string | null} name of a file of the saved artwork
 * @property {Blob} file
 * @property {string} url
 * @property {string} label
 * @property {number} width
 * @property {number} height
 * @property {ImageData} small of which the alpha is read
 */

const SMALL_SIDE = 800;

/**
 * @param {Blob} file
 * @param {string | null} name
 * @param {string} label
 * @returns {Promise<Occluder>}
 */
export async function readOccluder(file, name, label) {
  const image = await readImage(file);
  const scale = Math.min(1, SMALL_SIDE / Math.max(image.naturalWidth, image.naturalHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
  canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Problem(0, "this browser draws no pictures");
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const small = context.getImageData(0, 0, canvas.width, canvas.height);
  const { naturalWidth: width, naturalHeight: height, src: url } = image;
  return { name, file, url, label, width, height, small };
}

/**
 * @param {Blob} file
 * @returns {Promise<HTMLImageElement>} with a blob: address, until the page closes
 */
export async function readImage(file) {
  const image = new Image();
  image.src = URL.createObjectURL(file);
  try {
    await image.decode();
  } catch {
    URL.revokeObjectURL(image.src);
    throw new Problem(0, "This is no picture that can be shown; save it as JPEG, PNG or WebP.");
  }
  return image;
}

/** Whether it is nowhere transparent, and would hide the whole picture. @param {Occluder} occluder */
export function isOpaque({ small }) {
  for (let at = 3; at < small.data.length; at += 4) if (small.data[at] < 255) return false;
  return true;
}

/**
 * Which share of a box's lower edge an occluder covers.
 * @param {Occluder} occluder
 * @param {import("./boxes.js").Box} box
 */
export function coverOfEdge({ small }, [x, y, width, height]) {
  const row = Math.min(small.height, Math.max(1, Math.round((y + height) * small.height))) - 1;
  const first = Math.min(small.width - 1, Math.round(x * small.width));
  const last = Math.max(first + 1, Math.round((x + width) * small.width));
  let sum = 0;
  for (let column = first; column < last; column++) {
    sum += small.data[4 * (row * small.width + Math.min(column, small.width - 1)) + 3];
  }
  return sum / (255 * (last - first));
}
