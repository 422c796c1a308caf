/** Before anybody came: the artworks, one after the other. */

import { Problem } from "../api.js";
import { Wall, fetchPicture, glow, isCalm } from "../pictures.js";
import { kiosk, onShow, refresh, usualLanguage } from "../service.js";
import { find, on, show } from "../stage.js";
import { setLanguage } from "../texts.js";
import { pause } from "../time.js";
import { begin } from "../visit.js";
import { caption, showDegraded } from "./words.js";

const CHANGE_S = 9;
const REFRESH_S = 15;

/** @type {string | undefined} */
let version;

export const attract = {
  /** @param {AbortSignal} signal */
  async enter(signal) {
    await refresh(signal);
    version ??= kiosk().version;
    if (version !== kiosk().version) location.reload(); // this page is the old one
    on(find("screen-attract"), "click", () => {
      begin();
      return show("choose");
    }, signal);
    setLanguage(usualLanguage());
    showDegraded();
    await Promise.all([alternate(signal), keepFresh(signal)]);
  },
};

/** @param {AbortSignal} signal */
async function alternate(signal) {
  const wall = new Wall(find("attract-wall"), signal);
  for (let turn = 0; ; turn++) {
    const artwork = onShow()[turn % onShow().length];
    if (!artwork) return; // none is left; who keeps fresh says so
    const picture = await fetchPicture(artwork.picture, signal);
    if (picture) {
      glow(await wall.hang(picture));
      find("attract-label").textContent = caption(artwork);
      if (isCalm() || onShow().length === 1) return;
    }
    await pause(CHANGE_S, signal);
  }
}

/** Notice new settings and artworks, and that the service is gone. @param {AbortSignal} signal */
async function keepFresh(signal) {
  for (let failures = 0; ; ) {
    await pause(failures ? 2 : REFRESH_S, signal);
    try {
      if (await refresh(signal)) return show("attract");
      failures = 0;
    } catch (error) {
      // One slow answer is no reason to close the doors.
      if (!(error instanceof Problem) || ++failures > 1) throw error;
    }
  }
}
