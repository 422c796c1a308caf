/** What is known of the one visitor there is, and forgetting it. */

import { json, request } from "./api.js";
import { usualLanguage } from "./service.js";
import { find, show } from "./stage.js";
import { setLanguage, write } from "./texts.js";
import { backOff, pause } from "./time.js";

/** @typedef {import("./service.js").Artwork} Artwork */

class Visit {
  /** @type {Artwork | null} */
  artwork = null;
  /** The photo, until its picture is done: it is sent again after a restart of the service. */
  photo = /** @type {Blob | null} */ (null);
  /** Address of the composition, on which the service keeps the visitor's pictures. */
  composition = /** @type {string | null} */ (null);
  /** @type {{done?: Blob, composite?: Blob | null}} */
  pictures = {};
  /** When the service deletes them, on the clock of ``performance.now``. */
  deadline = Infinity;
}

/** @type {Visit | null} */
let visit = null;

export const isVisited = () => visit !== null;

/** Somebody came. */
export function begin() {
  visit ??= new Visit();
}

/** @returns {Visit} the visit; when nobody is there, one that nobody will remember. */
export const current = () => visit ?? new Visit();

/** Forget photo and pictures, here and at the service, but not the artwork. */
export async function forgetPictures() {
  if (!visit) return true;
  const { artwork, composition } = visit;
  visit = new Visit();
  visit.artwork = artwork;
  return composition ? deleted(composition) : true;
}

/** Forget the visitor, and be ready for the next one. */
export async function leave() {
  const known = visit?.photo || visit?.composition;
  const forgotten = forgetPictures();
  visit = null;
  setLanguage(usualLanguage());
  void show("attract");
  if (known && await forgotten) await toast("deleted");
}

/** The page is closed or loaded anew. */
export function farewell() {
  if (visit?.composition) void request(visit.composition, { method: "DELETE", keepalive: true });
}

/** Take over what the service says of a composition that is done. */
export async function refreshDeadline(/** @type {AbortSignal} */ signal) {
  const { composition } = current();
  const facts = await json(/** @type {string} */ (composition), { signal });
  current().deadline = performance.now() + (facts.expires_in_s ?? 0) * 1000;
}

/** @returns {Promise<boolean>} whether the service has nothing of it any more. */
export async function deleted(/** @type {string} */ composition) {
  const never = new AbortController().signal;
  for (let failures = 0; failures < 8; failures++) {
    try {
      await request(composition, { method: "DELETE" });
      return true;
    } catch (/** @type {any} */ error) {
      if (error.code === "not-found") return true;
    }
    await pause(backOff(failures), never);
  }
  return false; // it expires by itself
}

/** Say something in passing. */
async function toast(/** @type {string} */ key) {
  const element = find("toast");
  write(element, key);
  element.hidden = false;
  await pause(5, new AbortController().signal);
  element.hidden = true;
}
