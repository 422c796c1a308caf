/** May the camera be opened? */

import { Wall, fetchPicture } from "../pictures.js";
import { kiosk } from "../service.js";
import { find, on, setBack, show } from "../stage.js";
import { language, text } from "../texts.js";
import { duration } from "../time.js";
import { current } from "../visit.js";

const POINTS = ["consent.taken", "consent.local", "consent.time", "consent.delete"];

export const consent = {
  /** @param {AbortSignal} signal */
  async enter(signal) {
    setBack(() => show("choose"));
    on(find("agree"), "click", () => show("camera"), signal);
    on(document, "language", tell, signal);
    tell();
    const { artwork } = current();
    const wall = new Wall(find("consent-wall"), signal);
    const picture = artwork && await fetchPicture(artwork.picture, signal);
    if (picture) await wall.hang(picture);
  },
};

/** The museum's words, or the page's own. */
function tell() {
  const { consent: given, language: usual, retention_s } = kiosk();
  const words = typeof given === "object"
    ? (given[language()] ?? given[usual] ?? given.en ?? Object.values(given)[0] ?? "").split(/\n+/)
    : POINTS.map((key) => text(key, { time: duration(retention_s, language()) }));
  find("consent-text").replaceChildren(...words.map((line) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = line;
    return paragraph;
  }));
}
