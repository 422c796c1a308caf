/** The picture for the visitor's phone. */

import { json } from "../api.js";
import { put } from "../pictures.js";
import { find, on, setBack, show } from "../stage.js";
import { write } from "../texts.js";
import { current, leave } from "../visit.js";
import { expire } from "./result.js";

export const keep = {
  /** @param {AbortSignal} signal */
  async enter(signal) {
    setBack(() => show("result", { again: true }));
    on(find("keep-done"), "click", leave, signal);
    const visit = current();
    find("address").textContent = find("uses").textContent = "";
    void expire(find("keep-expiry"), signal).catch(() => {});
    // It is the same one every time, with fewer uses left.
    const link = await json(`${visit.composition}/links`, { method: "POST", signal });
    const { url, uses_left, qr_svg } = link;
    find("address").textContent = url;
    write(find("uses"), "keep.uses", { count: uses_left });
    await put(find("qr"), new Blob([qr_svg], { type: "image/svg+xml" }), signal);
  },
};
