/** The picture for the visitor's phone. */

import { Problem, json } from "../api.js";
import { put } from "../pictures.js";
import { refresh } from "../service.js";
import { find, on, setBack, show } from "../stage.js";
import { write } from "../texts.js";
import { current, leave } from "../visit.js";
import { showDeadline } from "./words.js";

export const keep = {
  /** @param {AbortSignal} signal */
  async enter(signal) {
    const toResult = () => show("result", { again: true });
    setBack(toResult);
    on(find("keep-done"), "click", leave, signal);
    const visit = current();
    find("address").textContent = find("uses").textContent = "";
    showDeadline(find("keep-expiry"), signal);
    const link = await ask(`${visit.composition}/links`, signal);
    if (!link) return toResult();
    visit.offered = true;
    find("address").textContent = link.url;
    write(find("uses"), "keep.uses", { count: link.uses_left });
    await put(find("qr"), new Blob([link.qr_svg], { type: "image/svg+xml" }), signal);
  },
};

/**
 * Ask for the picture's link, the same one every time, with fewer uses left.
 *
 * @param {string} path
 * @param {AbortSignal} signal
 * @returns {Promise<any>} or null where phones cannot reach this machine any more.
 */
async function ask(path, signal) {
  try {
    return await json(path, { method: "POST", signal });
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== "conflict") throw error;
    await refresh(signal); // nor does the next screen offer it
    return null;
  }
}
