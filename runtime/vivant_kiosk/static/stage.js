/** Which screen is on, and what happens to what it began. */

/**
 * @typedef {object} Screen
 * @property {(signal: AbortSignal, detail: any) => unknown} enter ``signal`` aborts when the screen
 *   is left: everything begun on it ends with it.
 */

/** @type {Map<string, Screen>} */
const screens = new Map();
let leaving = new AbortController();
let current = { name: "boot", detail: /** @type {any} */ ({}) };

export function addScreens(/** @type {Record<string, Screen>} */ more) {
  for (const [name, screen] of Object.entries(more)) screens.set(name, screen);
}

export const currentScreen = () => document.body.dataset.screen ?? "";

/** @param {string} id @returns {any} the element; ids are part of the page. */
export const find = (id) => document.getElementById(id);

/**
 * Leave the current screen for another; errors of either end on the screen "trouble".
 *
 * @param {string} name
 * @param {any} [detail]
 */
export async function show(name, detail = {}) {
  const screen = screens.get(name);
  if (!screen) throw new Error(`no screen '${name}'`);
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  current = { name, detail };
  for (const section of document.querySelectorAll("main > section")) {
    /** @type {HTMLElement} */ (section).hidden = section.id !== `screen-${name}`;
  }
  setBack(null);
  rename(name);
  focusHeading();
  await guarded(() => screen.enter(signal, detail), signal);
}

/** Tell screen readers which screen is on. */
export function focusHeading() {
  find(`screen-${current.name}`).querySelector("h1")?.focus({ preventScroll: true });
}

/** Name a part of a screen, such as the countdown, which is the camera's. */
export function rename(/** @type {string} */ name) {
  document.body.dataset.screen = name;
}

/** Offer a way back, or none. */
export function setBack(/** @type {(() => unknown) | null} */ action) {
  const back = find("back");
  back.hidden = !action;
  back.onclick = action && (() => guarded(action, leaving.signal));
}

/**
 * Listen while a screen is on.
 *
 * @param {EventTarget} target
 * @param {string} type
 * @param {(event: any) => unknown} handler may be asynchronous, and may fail.
 * @param {AbortSignal} signal
 */
export function on(target, type, handler, signal) {
  target.addEventListener(type, (event) => guarded(() => handler(event), signal), { signal });
}

/** @param {() => unknown} action @param {AbortSignal} signal of the screen it belongs to. */
async function guarded(action, signal) {
  try {
    await action();
  } catch (error) {
    if (!signal.aborted) await show("trouble", { error, from: current });
  }
}
