// @ts-check
/** What is known of the artwork as a whole. */

import { PICTURES, SHOTS, readPicture, slug } from "./draft.js";
import { chooseFile, el } from "./elements.js";
import { Fields, field, group } from "./fields.js";

export class ArtworkPanel {
  /**
   * @param {HTMLElement} page
   * @param {import("./draft.js").Draft} draft
   * @param {{fail: (error: Error) => void, remove: () => void}} actions
   */
  constructor(page, draft, actions) {
    this.page = page;
    this.draft = draft;
    this.actions = actions;
    this.fields = new Fields();
    this.page.replaceChildren(...this.#fields());
  }

  show() {
    this.fields.refresh();
  }

  #line(name, label, hint = "", options = {}) {
    const set = (value) => this.draft.changeArtwork({ [name]: value });
    const control = this.fields.text(() => String(this.draft.values.artwork[name] ?? ""), set, options);
    return field(`artwork.${name}`, label, control, hint);
  }

  #fields() {
    const { draft, fields } = this;
    const values = () => draft.values.artwork;
    const rename = (value) => draft.changeArtwork({ id: slug(value) });
    const id = fields.text(() => values().id, rename, { disabled: !draft.isNew });
    const year = fields.text(() => String(values().year ?? ""), (value) =>
      draft.changeArtwork({ year: /^-?\d{1,4}$/.test(value) ? Number(value) : value }));
    const rows = fields.number(
      () => values().output_height,
      (value) => draft.changeArtwork({ output_height: value }),
      { min: 256, max: 4320, optional: true, placeholder: "as the picture" },
    );
    const together = [
      ["together", "Together, in one slot"],
      ["apart", "Apart, each in their own"],
    ];
    const place = (value) => draft.changeArtwork({ people: value });
    const people = fields.choice(() => values().people, together, place);
    const idHint = draft.isNew ? "The folder's name; it stays as it is once saved." : "";
    return [
      this.#line("title", "Title"),
      this.#line("artist", "Artist"),
      field("artwork.year", "Year", year),
      this.#line("credit", "Credit", "Who lent or photographed it."),
      this.#line("licence", "Licence"),
      field("artwork.id", "Id", id, idHint),
      field("artwork.output_height", "Height of the compositions, pixels", rows),
      group("artwork.people", "Groups stand", people),
      this.#order(),
      this.#picture(),
      ...(draft.isNew ? [] : [this.#delete()]),
    ];
  }

  /** Which shot types stand in when no slot is made for a visitor's. */
  #order() {
    const { draft } = this;
    const list = el("ol", { class: "order" });
    this.fields.follow(() => {
      const order = draft.values.fallback;
      const rows = order.map((shot, at) => {
        const up = el("button", { class: "small", title: "Earlier", disabled: at === 0,
          "aria-label": `${shot} earlier` }, "↑");
        up.onclick = () => {
          const next = [...order];
          next.splice(at - 1, 2, order[at], order[at - 1]);
          draft.change({ fallback: next });
        };
        const alone = order.length === 1;
        const drop = el("button", { class: "small", title: "Not at all", disabled: alone,
          "aria-label": `${shot} not at all` }, "×");
        drop.onclick = () => draft.change({ fallback: order.filter((each) => each !== shot) });
        return el("li", {}, el("span", {}, shot), up, drop);
      });
      const missing = SHOTS.filter((shot) => !order.includes(shot)).map((shot) => {
        const add = el("button", { class: "small" }, `Add ${shot}`);
        add.onclick = () => draft.change({ fallback: [...order, shot] });
        return el("li", { class: "add" }, add);
      });
      list.replaceChildren(...rows, ...missing);
    });
    const hint = "Slots for these are tried instead, in this order.";
    return group("fallback.order", "Where no slot is made for a photo", [list], hint);
  }

  #picture() {
    const { draft } = this;
    const size = el("span", { class: "hint" });
    this.fields.follow(() => {
      const { width, height } = draft.values.picture;
      size.textContent = `${width} × ${height} pixels`;
    });
    const replace = el("button", {}, "Replace…");
    replace.onclick = async () => {
      const file = await chooseFile(PICTURES);
      if (!file) return;
      try {
        draft.change({ picture: await readPicture(file, null) });
      } catch (error) {
        this.actions.fail(/** @type {Error} */ (error));
      }
    };
    const hint = "A better scan needs no new slots; what is in front of them must have its size.";
    return group("artwork.image", "Picture", [size, replace], hint);
  }

  #delete() {
    const button = el("button", { class: "danger" }, "Delete this artwork…");
    button.onclick = this.actions.remove;
    return el("div", { class: "actions" }, button);
  }
}
