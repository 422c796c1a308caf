/** What is known of the one visitor there is, and forgetting it. */

import { json, request } from "./api.js";
import { usualLanguage } from "./service.js";
import { find, show } from "./stage.js";
import { language, setLanguage, text } from "./texts.js";
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
  /** A phone was given its address: the service keeps it until then, whoever stands here. */
  offered = false;
  /** Aborts when the pictures are forgotten here. */
  over = new AbortController();
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

/**
 * Forget photo and pictures, but not the artwork: here, and at the service unless a phone may come.
 *
 * @returns {Promise<boolean>} whether the service has nothing of them any more.
 */
export async function forgetPictures() {
  if (!visit) return true;
  const { artwork, composition, offered, over } = visit;
  over.abort();
  visit = new Visit();
  visit.artwork = artwork;
  if (!composition) return true;
  return !offered && deleted(composition);
}

/** Forget the visitor, and be ready for the next one. */
export async function leave() {
  const { photo, composition, offered } = current();
  const words = text(offered ? "offered" : "deleted"); // in the visitor's language
  const forgotten = forgetPictures();
  visit = null;
  const spoken = language();
  setLanguage(usualLanguage());
  void show("attract");
  // The next visitor, who may be there already, would think of another picture.
  if ((photo || composition) && (offered || await forgotten) && !visit) await toast(words, spoken);
}

/** Leave, and delete the picture even if a phone was given its address. */
export function leaveNothing() {
  current().offered = false;
  return leave();
}

/** The page is closed or loaded anew. */
export function farewell() {
  const { composition, offered } = current();
  if (composition && !offered) void request(composition, { method: "DELETE", keepalive: true });
}

/** Learn when the service deletes the pictures; here they go at the same time, whatever is on. */
export async function refreshDeadline(/** @type {AbortSignal} */ signal) {
  const known = current();
  const facts = await json(/** @type {string} */ (known.composition), { signal });
  signal.throwIfAborted();
  known.deadline = performance.now() + (facts.expires_in_s ?? 0) * 1000;
  void expire(known).catch(() => {}); // they were forgotten before
}

/** @param {Visit} visit */
async function expire({ deadline, over }) {
  await pause((deadline - performance.now()) / 1000, over.signal);
  void forgetPictures();
  find("idle").close(); // what it warns of has happened
  await show("trouble", { kind: "expired" });
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
async function toast(/** @type {string} */ words, /** @type {string} */ spoken) {
  const element = find("toast");
  element.textContent = words;
  element.lang = spoken;
  element.hidden = false;
  await pause(5, new AbortController().signal);
  element.hidden = true;
}
