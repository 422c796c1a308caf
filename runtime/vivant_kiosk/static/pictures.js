/** Pictures on the page: they vanish, and their memory is given back, with their screen. */

import { Problem, blob } from "./api.js";

const FADE_MS = 1200;

/**
 * Show a picture in an image until the screen is left.
 *
 * @param {HTMLImageElement} image
 * @param {Blob} picture
 * @param {AbortSignal} signal
 */
export async function put(image, picture, signal) {
  signal.throwIfAborted();
  const url = URL.createObjectURL(picture);
  const end = () => {
    URL.revokeObjectURL(url);
    if (image.src === url) image.removeAttribute("src");
  };
  signal.addEventListener("abort", end, { once: true });
  image.src = url;
  await image.decode().catch(() => {}); // a broken picture is no reason to stop a visit
  signal.throwIfAborted();
}

/**
 * Fetch an artwork's picture; unchanged ones come from the browser's cache.
 *
 * @param {string} path
 * @param {AbortSignal} signal
 * @returns {Promise<Blob | null>} ``null`` where it cannot be had: it only adorns the page.
 */
export async function fetchPicture(path, signal) {
  try {
    return await blob(path, { signal, cache: "no-cache" });
  } catch (error) {
    if (error instanceof Problem) return null;
    throw error;
  }
}

/** A wall on which one picture replaces the other by a gentle cross-fade. */
export class Wall {
  #turn = Promise.resolve();
  #hanging = new AbortController();

  /** @param {HTMLElement} element @param {AbortSignal} signal of its screen. */
  constructor(element, signal) {
    this.element = element;
    this.signal = signal;
    signal.addEventListener("abort", () => element.replaceChildren(), { once: true });
  }

  /**
   * Hang a picture in place of the former, in the order of calls.
   *
   * @param {Blob} picture
   * @param {string} [look] a class of its frame.
   * @returns {Promise<HTMLImageElement>} as soon as it hangs; the fade goes on.
   */
  hang(picture, look = "") {
    const hung = this.#turn.then(() => this.#hang(picture, look));
    this.#turn = hung.then(() => {}, () => {});
    return hung;
  }

  /** @param {Blob} picture @param {string} look */
  async #hang(picture, look) {
    const [former, hanging] = [this.#hanging, new AbortController()];
    const image = new Image();
    image.alt = "";
    await put(image, picture, AbortSignal.any([this.signal, hanging.signal]));
    this.#hanging = hanging;
    const frame = document.createElement("div");
    frame.className = `frame ${look}`;
    setShape(frame, image.naturalWidth || 3, image.naturalHeight || 2);
    frame.append(image);
    const old = [...this.element.children];
    this.element.append(frame);
    const fade = { duration: isCalm() ? 0 : FADE_MS, easing: "ease-in-out" };
    // The old one goes too: of another shape, it would show behind the new one.
    for (const each of old) each.animate({ opacity: 0 }, { ...fade, fill: "forwards" });
    void frame.animate({ opacity: [0, 1] }, fade).finished.then(() => {
      for (const each of old) each.remove();
      former.abort();
    });
    return image;
  }
}

/** @param {HTMLElement} frame @param {number} width @param {number} height */
export function setShape(frame, width, height) {
  frame.style.setProperty("--shape", String(width / height));
}

const calm = matchMedia("(prefers-reduced-motion: reduce)");
export const isCalm = () => calm.matches;

/** Let a little of a picture's colour fall on the wall behind it. */
export function glow(/** @type {HTMLImageElement} */ image) {
  const canvas = /** @type {HTMLCanvasElement} */ (document.getElementById("glow"));
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  // A few pixels, stretched over the screen, are a blur that costs nothing.
  pen.imageSmoothingQuality = "high";
  pen.drawImage(image, 0, 0, 5, 5);
  pen.drawImage(canvas, 0, 0, 5, 5, 0, 0, canvas.width, canvas.height);
}
