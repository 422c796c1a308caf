/** Which painting? */

import { Problem } from "../api.js";
import { rowHeight } from "../hanging.js";
import { fetchPicture, glow, put } from "../pictures.js";
import { kiosk, onShow } from "../service.js";
import { find, on, setBack, show } from "../stage.js";
import { current, leave } from "../visit.js";

const LEAST_REM = 12; // height of a picture

export const choose = {
  /** @param {AbortSignal} signal */
  async enter(signal) {
    setBack(leave);
    const gallery = find("gallery");
    const cards = onShow().map((artwork) => card(artwork, signal));
    gallery.replaceChildren(...cards.map(({ item }) => item));
    gallery.scrollTop = 0;
    const watcher = new ResizeObserver(hang);
    watcher.observe(gallery);
    signal.addEventListener("abort", () => {
      watcher.disconnect();
      gallery.replaceChildren();
    }, { once: true });
    hang();
    const loaded = await Promise.all(cards.map(({ load }) => load()));
    if (!loaded.some(Boolean)) throw new Problem("away");
  },
};

/** @param {import("../service.js").Artwork} artwork @param {AbortSignal} signal */
function card(artwork, signal) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.className = "artwork";
  button.dataset.id = artwork.id;
  const image = new Image();
  image.alt = "";
  const title = document.createElement("strong");
  title.textContent = artwork.title;
  const maker = document.createElement("span");
  maker.textContent = [artwork.artist, artwork.year].filter(Boolean).join(", ");
  button.append(image, title, maker);
  item.append(button);
  item.style.setProperty("--shape", String(artwork.width / artwork.height));
  on(button, "click", () => {
    current().artwork = artwork;
    glow(image);
    return show(kiosk().consent ? "consent" : "camera");
  }, signal);
  const load = async () => {
    const small = await fetchPicture(artwork.thumbnail, signal);
    if (small) await put(image, small, signal);
    if (image.naturalWidth >= image.clientWidth * devicePixelRatio) return true;
    const large = await fetchPicture(artwork.picture, signal);
    if (large) await put(image, large, signal);
    return Boolean(small ?? large);
  };
  return { item, load };
}

/** Hang the pictures in rows as high as the wall allows. */
function hang() {
  // Captions under larger pictures have fewer lines, which leaves more room for pictures.
  for (let pass = 0; pass < 3; pass++) hangOnce(find("gallery"));
}

function hangOnce(/** @type {HTMLElement} */ gallery) {
  const style = getComputedStyle(gallery);
  const shapes = onShow().map((artwork) => artwork.width / artwork.height);
  const captions = [...gallery.querySelectorAll("button")].map((button) => (
    button.offsetHeight - /** @type {HTMLElement} */ (button.firstElementChild).offsetHeight
  ));
  const height = rowHeight(shapes, {
    width: gallery.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight),
    height: gallery.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom),
    gap: parseFloat(style.columnGap),
    below: Math.max(...captions) + parseFloat(style.rowGap),
    least: LEAST_REM * parseFloat(getComputedStyle(document.documentElement).fontSize),
  });
  gallery.style.setProperty("--row", `${height}px`);
  gallery.classList.toggle("scrolls", gallery.scrollHeight > gallery.clientHeight);
}
