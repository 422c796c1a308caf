/** The kiosk page: everything begins here. */

import { json } from "./api.js";
import { watchIdleness } from "./idle.js";
import { attract } from "./screens/attract.js";
import { camera } from "./screens/camera.js";
import { choose } from "./screens/choose.js";
import { consent } from "./screens/consent.js";
import { keep } from "./screens/keep.js";
import { progress } from "./screens/progress.js";
import { result } from "./screens/result.js";
import { trouble } from "./screens/trouble.js";
import { kiosk } from "./service.js";
import { addScreens, find, show } from "./stage.js";
import { language, hasLanguage, loadLanguages, nameOf, setLanguage } from "./texts.js";
import { tameTouch } from "./touch.js";
import { farewell } from "./visit.js";

const BEAT_S = 30;

/** Ask twice a minute, whatever is on: a page that falls silent is taken for one that hangs. */
function beat() {
  setInterval(() => void json("/v1/kiosk").catch(() => {}), BEAT_S * 1000);
}

/** The buttons for the languages, which the service may change; the page's own have names. */
function offerLanguages() {
  const codes = (kiosk()?.languages ?? []).filter(hasLanguage);
  const nav = find("languages");
  if (nav.dataset.codes !== codes.join()) {
    nav.dataset.codes = codes.join();
    nav.replaceChildren(...codes.map(languageButton));
  }
  nav.hidden = codes.length < 2;
  for (const button of nav.children) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language()));
  }
}

/** @param {string} code */
function languageButton(code) {
  const button = document.createElement("button");
  button.dataset.language = button.lang = code;
  button.textContent = code.toUpperCase();
  button.setAttribute("aria-label", nameOf(code));
  button.addEventListener("click", () => setLanguage(code));
  return button;
}

async function begin() {
  tameTouch();
  watchIdleness();
  beat();
  document.addEventListener("language", offerLanguages);
  addEventListener("pagehide", farewell);
  addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
  addEventListener("unhandledrejection", ({ reason }) => {
    if (reason?.name !== "AbortError") console.error(reason);
  });
  addScreens({ attract, choose, consent, camera, progress, result, keep, trouble });
  while (!hasLanguage("en")) await loadLanguages(["en"]);
  setLanguage("en");
  await show("attract");
}

void begin();
