// @ts-check
/** The studio's screens: the token, the shelf of artworks, the editor. */

import { PICTURES, draftFrom, draftOf } from "./draft.js";
import { edit, hasChanges } from "./editor.js";
import { ask, byId, chooseFile, el } from "./elements.js";
import * as service from "./service.js";

const CLOSED = "The studio is closed: the service has no admin_token. Set one, and start it again.";
const SCREENS = ["enter", "shelf", "editor"];

/** @param {string} name */
function show(name) {
  for (const screen of SCREENS) byId(screen).hidden = screen !== name;
}

/** @param {unknown} error */
function told(error) {
  const { message } = /** @type {Error} */ (error);
  return message;
}

function showEntrance(words = "") {
  service.forgetToken();
  show("enter");
  byId("enter-error").textContent = words;
  byId("token").focus();
}

async function enter() {
  const input = /** @type {HTMLInputElement} */ (byId("token"));
  service.keepToken(input.value.trim());
  input.value = "";
  await showShelf();
}

async function showShelf() {
  let entries;
  try {
    entries = await service.list();
  } catch (error) {
    const { status } = /** @type {service.Problem} */ (error);
    if (status === 401) showEntrance("This is not the admin token.");
    else if (status === 404) showEntrance(CLOSED);
    else if (byId("shelf").hidden) showEntrance(told(error));
    else byId("shelf-error").textContent = told(error);
    return;
  }
  show("shelf");
  byId("shelf-error").textContent = "";
  byId("read-only").hidden = entries.read_only === null;
  byId("read-only").textContent = `Nothing can be saved here: ${entries.read_only}.`;
  const cards = entries.artworks.map(card);
  byId("cards").replaceChildren(...cards);
  const none = el("li", { class: "empty" }, "No artworks yet: add the first.");
  if (!cards.length) byId("cards").append(none);
  byId("broken").hidden = !entries.errors.length;
  byId("troubles").replaceChildren(...entries.errors.map(trouble));
}

function card({ id, title, artist, slots }) {
  const image = el("img", { alt: "", width: 320, height: 220 });
  const words = [artist, slots === 1 ? "1 slot" : `${slots} slots`].filter(Boolean).join(" · ");
  const names = el("span", {}, el("strong", {}, title), el("small", {}, words));
  const button = el("button", { class: "card" }, image, names);
  button.onclick = () => openEditor(() => draftFrom(id));
  service.thumbnail(id).then((picture) => {
    image.src = URL.createObjectURL(picture);
    image.onload = () => URL.revokeObjectURL(image.src);
  }, () => {});
  return el("li", {}, button);
}

function trouble({ id, folder, message }) {
  const row = el("li", {}, el("strong", {}, folder), el("span", {}, message));
  if (id === null) return row;
  const button = el("button", { class: "danger" }, "Delete…");
  button.onclick = async () => {
    const question = `Delete the artwork in the folder “${folder}”? This cannot be undone.`;
    if (!(await ask(question, "Delete"))) return;
    try {
      await service.remove(id);
      await showShelf();
    } catch (error) {
      byId("shelf-error").textContent = told(error);
    }
  };
  row.append(button);
  return row;
}

/** @param {() => Promise<import("./draft.js").Draft>} make */
async function openEditor(make) {
  byId("shelf-error").textContent = "";
  try {
    const draft = await make();
    show("editor");
    edit(draft, showShelf);
  } catch (error) {
    byId("shelf-error").textContent = told(error);
  }
}

byId("enter-button").onclick = enter;
byId("token").onkeydown = (event) => {
  if (event.key === "Enter") enter();
};
byId("add").onclick = async () => {
  const file = await chooseFile(PICTURES);
  if (file) await openEditor(() => draftOf(file));
};
addEventListener("beforeunload", (event) => {
  if (hasChanges()) event.preventDefault();
});

if (service.hasToken()) showShelf();
else showEntrance();
