/** Words that several screens say. */

import { kiosk } from "../service.js";

/** @param {import("../service.js").Artwork} artwork */
export function caption({ title, artist, year }) {
  return [title, artist, year].filter(Boolean).join(", ");
}

/** Say that the machine does what it can, which is less than it should. */
export function showDegraded() {
  for (const line of document.querySelectorAll(".degraded")) {
    /** @type {HTMLElement} */ (line).hidden = !kiosk().degraded;
  }
}
