/** A touch screen on a wall is no document: nothing is zoomed, selected, dragged or looked up. */

import { currentScreen, find } from "./stage.js";

const UNWANTED = ["contextmenu", "selectstart", "dragstart", "drop", "gesturestart", "dblclick"];
const BOUNCE_MS = 400;
const BOUNCE_PX = 60;

export function tameTouch() {
  for (const type of UNWANTED) document.addEventListener(type, (event) => event.preventDefault());
  const firm = { passive: false };
  document.addEventListener("touchmove", (event) => {
    if (event.touches.length > 1 && event.cancelable) event.preventDefault();
  }, firm);
  document.addEventListener("wheel", (event) => event.ctrlKey && event.preventDefault(), firm);
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && ["+", "-", "=", "0"].includes(event.key)) {
      event.preventDefault();
    }
  });
  ignoreBounces();
}

/** A finger that touches twice does not mean what the first touch brought under it. */
function ignoreBounces() {
  const place = () => `${currentScreen()} ${find("idle").open}`;
  let last = { time: -Infinity, x: 0, y: 0, place: "" };
  document.addEventListener("click", (event) => {
    const { timeStamp: time, clientX: x, clientY: y, detail } = event;
    const near = time - last.time < BOUNCE_MS && Math.hypot(x - last.x, y - last.y) < BOUNCE_PX;
    const bounced = detail > 0 && near && place() !== last.place; // 0: by the keyboard
    last = { time, x, y, place: bounced ? last.place : place() };
    if (!bounced) return;
    event.stopPropagation();
    event.preventDefault();
  }, { capture: true });
}
