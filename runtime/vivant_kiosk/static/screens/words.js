/** Words that several screens say. */

import { kiosk } from "../service.js";
import { write } from "../texts.js";
import { clock, countDown } from "../time.js";
import { current } from "../visit.js";

/** @param {import("../service.js").Artwork} artwork */
export function caption({ title, artist, year }) {
  return [title, artist, year].filter(Boolean).join(", ");
}

/** Say how long the visitor's pictures are kept. */
export function showDeadline(/** @type {HTMLElement} */ line, /** @type {AbortSignal} */ signal) {
  const tell = (/** @type {number} */ left) => write(line, "result.expiry", { time: clock(left) });
  void countDown(current().deadline, tell, signal).catch(() => {}); // the screen was left
}

/** Say that the machine does what it can, which is less than it should. */
export function showDegraded() {
  for (const line of document.querySelectorAll(".degraded")) {
    /** @type {HTMLElement} */ (line).hidden = !kiosk().degraded;
  }
}
