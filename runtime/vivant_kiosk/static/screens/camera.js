/** Before the camera: the visitor in the painting, the countdown, the photo. */

import { Camera } from "../camera.js";
import { fetchPicture, isCalm, put, setShape } from "../pictures.js";
import { preview } from "../preview.js";
import { kiosk } from "../service.js";
import { find, on, rename, setBack, show } from "../stage.js";
import { write } from "../texts.js";
import { countDown, pause } from "../time.js";
import { current } from "../visit.js";

/** @typedef {import("../preview.js").Seen} Seen */

export const camera = {
  /** @param {AbortSignal} signal */
  async enter(signal) {
    const { artwork } = current();
    if (!artwork) return show("choose");
    atEase();
    find("shoot").disabled = true;
    write(find("hint"), "camera.starting");
    setShape(find("scene"), artwork.width, artwork.height);
    mirror(!kiosk().preview);
    signal.addEventListener("abort", clear, { once: true });
    const [opened] = await Promise.all([Camera.open(find("video"), signal), hang(artwork, signal)]);
    setShape(find("mirror"), opened.video.videoWidth, opened.video.videoHeight);
    write(find("hint"), kiosk().preview ? "camera.waiting" : "camera.mirror");
    find("shoot").disabled = false;
    on(find("shoot"), "click", () => shoot(opened, signal), signal);
    await Promise.all([
      opened.watch(signal),
      kiosk().preview && preview({
        artwork: artwork.id,
        frame: () => opened.frame(),
        show: showPreview,
        lost: losePreview,
        signal,
      }),
    ]);
  },
};

/** @param {import("../service.js").Artwork} artwork @param {AbortSignal} signal */
async function hang(artwork, signal) {
  const picture = await fetchPicture(artwork.picture, signal);
  if (picture) await put(find("scene-artwork"), picture, signal);
}

/** @param {ImageBitmap} picture @param {Seen} seen */
function showPreview(picture, seen) {
  const canvas = find("scene-preview");
  [canvas.width, canvas.height] = [picture.width, picture.height];
  canvas.getContext("2d").drawImage(picture, 0, 0);
  mirror(false);
  if (document.body.dataset.screen === "camera") write(find("hint"), hint(seen));
}

function losePreview() {
  mirror(true);
  clearCanvas();
  if (document.body.dataset.screen === "camera") write(find("hint"), "camera.mirror");
}

/** @param {Seen} seen */
function hint({ state, message }) {
  if (state === "nobody") return "camera.nobody";
  if (state === "no place") return "camera.no-place";
  if (state === "waiting") return "camera.waiting";
  return message ? "camera.apart" : "camera.visitor";
}

/** @param {Camera} opened @param {AbortSignal} signal */
async function shoot(opened, signal) {
  rename("countdown");
  find("shoot").disabled = true;
  const calledOff = new AbortController();
  setBack(() => {
    calledOff.abort();
    atEase();
  });
  const both = AbortSignal.any([signal, calledOff.signal]);
  try {
    await count(both);
    const photo = await opened.photo(kiosk().max_upload_bytes);
    both.throwIfAborted();
    current().photo = photo;
  } catch (error) {
    if (calledOff.signal.aborted) return;
    throw error;
  }
  flash();
  await show("progress");
}

/** @param {AbortSignal} signal */
async function count(signal) {
  const seconds = kiosk().countdown_s;
  const number = find("number");
  number.hidden = !seconds;
  await countDown(performance.now() + seconds * 1000, (left) => {
    number.textContent = left ? String(left) : "";
    write(find("hint"), left ? "camera.count" : "camera.smile", { count: left });
  }, signal);
}

/** Show the visitor large, as in a mirror, and the painting small: no previews come. */
function mirror(/** @type {boolean} */ large) {
  find("screen-camera").classList.toggle("mirroring", large);
}

/** No countdown runs. */
function atEase() {
  rename("camera");
  find("shoot").disabled = false;
  find("number").hidden = true;
  setBack(() => show("choose"));
}

function clear() {
  find("number").hidden = true;
  clearCanvas();
}

function clearCanvas() {
  const canvas = find("scene-preview");
  canvas.width = canvas.height = 0;
}

async function flash() {
  if (isCalm()) return;
  const element = find("flash");
  element.hidden = false;
  await pause(0.7, new AbortController().signal);
  element.hidden = true;
}
