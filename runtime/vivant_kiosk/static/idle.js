/** Nobody there any more? Ask, then forget the visitor. */

import { kiosk, usualLanguage } from "./service.js";
import { currentScreen, find, focusHeading } from "./stage.js";
import { setLanguage, write } from "./texts.js";
import { countDown, pause } from "./time.js";
import { current, isVisited, leave } from "./visit.js";

const INPUTS = ["pointerdown", "keydown", "wheel", "input"];
let waiting = new AbortController();

/** Begin to wait anew: somebody is there, or something has just been shown. */
function stir() {
  waiting.abort();
  waiting = new AbortController();
  if (find("idle").open) {
    find("idle").close();
    focusHeading(); // the screen may have changed meanwhile
  }
  if (kiosk()) watch(waiting.signal).catch(unlessAborted);
}

/** Somebody was there. @param {Error} error */
function unlessAborted(error) {
  if (error.name !== "AbortError") throw error;
}

/** @param {AbortSignal} signal */
async function watch(signal) {
  const { idle_s, idle_warning_s } = kiosk();
  await pause(idle_s, signal);
  if (!isVisited()) return setLanguage(usualLanguage());
  if (document.body.dataset.trouble === "expired") return; // nothing is left, and it ends soon
  write(find("idle-text"), current().offered ? "idle.offered" : "idle.text");
  find("idle").showModal();
  find("still-here").focus();
  const until = performance.now() + idle_warning_s * 1000;
  await countDown(until, (left) => { find("idle-count").textContent = String(left); }, signal);
  find("idle").close();
  await leave();
}

export function watchIdleness() {
  // Other screens come by a touch; or by themselves, where nobody may be looking.
  const begins = () => ["attract", "choose", "result"].includes(currentScreen()) && stir();
  new MutationObserver(begins).observe(document.body, { attributeFilter: ["data-screen"] });
  // The question closes by a click alone: it would else reveal what the same touch then clicks.
  const input = () => find("idle").open || stir();
  for (const type of INPUTS) {
    document.addEventListener(type, input, { capture: true, passive: true });
  }
  for (const type of ["click", "cancel"]) find("idle").addEventListener(type, stir);
}
