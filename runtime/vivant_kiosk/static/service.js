/** What the service offers: its settings and its artworks. */

import { Problem, json } from "./api.js";
import { backOff, pause } from "./time.js";
import { hasLanguage, loadLanguages } from "./texts.js";

/**
 * @typedef {object} Kiosk
 * @property {string} version
 * @property {boolean} ready
 * @property {string | null} degraded
 * @property {boolean} preview
 * @property {boolean} downloads
 * @property {boolean} printing
 * @property {number} retention_s
 * @property {number} idle_s
 * @property {number} idle_warning_s
 * @property {number} countdown_s
 * @property {boolean | Record<string, string>} consent
 * @property {string[]} languages
 * @property {string} language
 * @property {number} max_upload_bytes
 */

/**
 * @typedef {object} Artwork
 * @property {string} id
 * @property {string} title
 * @property {string | null} artist
 * @property {string | number | null} year
 * @property {number} width
 * @property {number} height
 * @property {string} picture
 * @property {string} thumbnail
 */

/** @type {Kiosk} */
let settings;
/** @type {Artwork[]} */
let artworks = [];

export const kiosk = () => settings;
export const onShow = () => artworks;

/** The language before a visitor chose one. */
export function usualLanguage() {
  return hasLanguage(settings?.language) ? settings.language : "en";
}

/**
 * Ask for settings and artworks anew.
 *
 * @param {AbortSignal} signal
 * @returns {Promise<boolean>} whether anything that is shown has changed.
 * @throws {Problem} also "not-ready", and "empty" where no artwork is on show.
 */
export async function refresh(signal) {
  const before = JSON.stringify([settings, artworks]);
  const answer = await json("/v1/kiosk", { signal });
  await loadLanguages(answer.languages);
  settings = answer;
  if (!settings.ready) throw new Problem("not-ready");
  artworks = (await json("/v1/artworks", { signal })).artworks;
  if (!artworks.length) throw new Problem("empty");
  return JSON.stringify([settings, artworks]) !== before;
}

/** Try until the service is there, ready, and shows something. */
export async function untilReady(/** @type {AbortSignal} */ signal) {
  for (let failures = 0; ; failures++) {
    await pause(backOff(failures), signal);
    try {
      await refresh(signal);
      return;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
    }
  }
}
