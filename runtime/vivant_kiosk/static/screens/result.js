/** The picture, beside what it was before, and what can be done with it. */

import { isCalm, put, setShape } from "../pictures.js";
import { kiosk } from "../service.js";
import { find, on, show } from "../stage.js";
import { text, write } from "../texts.js";
import { pause } from "../time.js";
import { current, forgetPictures, leave, leaveNothing } from "../visit.js";
import { caption, showDeadline, showDegraded } from "./words.js";

const PRINT_PAUSE_S = 10;

export const result = {
  /** @param {AbortSignal} signal @param {{again?: boolean}} detail */
  async enter(signal, { again = false }) {
    const { artwork, pictures } = current();
    if (!artwork || !pictures.done) return show("choose");
    find("keep").hidden = !kiosk().downloads;
    find("print").hidden = !kiosk().printing;
    find("print").disabled = false;
    find("done").classList.toggle("primary", !kiosk().downloads);
    find("result-label").textContent = caption(artwork);
    write(find("after"), "result.picture", { title: artwork.title }, "alt");
    showDegraded();
    setShape(find("comparison"), artwork.width, artwork.height);
    offer(signal);
    showDeadline(find("expiry"), signal);
    await compare(pictures, signal, !again);
  },
};

/** @param {AbortSignal} signal */
function offer(signal) {
  on(find("keep"), "click", () => show("keep"), signal);
  on(find("retake"), "click", async () => {
    void forgetPictures();
    await show("camera");
  }, signal);
  on(find("delete"), "click", leaveNothing, signal);
  on(find("done"), "click", leave, signal);
  on(find("print"), "click", async () => {
    find("print").disabled = true; // one touch, one sheet
    window.print();
    await pause(PRINT_PAUSE_S, signal);
    find("print").disabled = false;
  }, signal);
}

/**
 * @param {{done?: Blob, composite?: Blob | null}} pictures
 * @param {AbortSignal} signal
 * @param {boolean} revealing
 */
async function compare({ done, composite }, signal, revealing) {
  const [frame, slider] = [find("comparison"), find("compare")];
  frame.classList.toggle("comparing", Boolean(composite));
  slider.hidden = find("slide").hidden = !composite;
  const turn = (/** @type {number} */ value) => {
    slider.value = String(value);
    frame.style.setProperty("--share", String(value));
    frame.classList.toggle("all-after", value < 12);
    frame.classList.toggle("all-before", value > 88);
    slider.setAttribute("aria-valuetext", text("result.share", { share: value }));
  };
  on(document, "language", () => turn(Number(slider.value)), signal);
  on(slider, "input", () => {
    frame.classList.remove("revealing");
    turn(Number(slider.value));
  }, signal);
  frame.classList.remove("revealing");
  turn(composite && revealing && !isCalm() ? 100 : 0);
  await Promise.all([
    done && put(find("after"), done, signal),
    done && put(find("paper"), done, signal),
    composite && put(find("before"), composite, signal),
  ]);
  const { naturalWidth: width, naturalHeight: height } = find("after");
  if (width) setShape(frame, width, height);
  find("paper").className = width > height ? "wide" : "high";
  if (slider.value === "100") {
    await pause(0.6, signal);
    if (slider.value !== "100") return;
    frame.classList.add("revealing");
    turn(0);
  }
}
