/** The photo becomes a picture, stage by stage. */

import { Problem, blob, json } from "../api.js";
import { Wall } from "../pictures.js";
import { find, setBack, show } from "../stage.js";
import { events } from "../stream.js";
import { write } from "../texts.js";
import { current, deleted, forgetPictures, refreshDeadline } from "../visit.js";

const UPLOAD_S = 30;
const TRIES = 3; // of a composition that a stop of the service cost
const LOST = ["not-found", "not-ready"]; // the service forgot it, or could not begin it
const STAGES = ["running", "matte", "composite", "harmonized"];

export const progress = {
  /** @param {AbortSignal} signal */
  async enter(signal) {
    setBack(async () => {
      void forgetPictures();
      await show("camera");
    });
    const wall = new Wall(find("progress-wall"), signal);
    const { photo } = current();
    if (photo) void wall.hang(photo, "veiled").catch(() => {});
    await follow(wall, signal);
    signal.throwIfAborted();
    await show("result");
  },
};

/** @param {Wall} wall @param {AbortSignal} signal */
async function follow(wall, signal) {
  for (let tries = 1; ; tries++) {
    try {
      current().composition ??= await send(signal);
      return await watch(wall, signal);
    } catch (error) {
      const lost = error instanceof Problem && LOST.includes(error.code);
      if (!lost || !current().composition) throw error;
      current().composition = null;
      if (tries === TRIES) throw error;
    }
  }
}

/** @param {AbortSignal} signal @returns {Promise<string>} the composition's address. */
async function send(signal) {
  const { photo, artwork } = current();
  if (!photo || !artwork) throw new Problem("failed");
  tell("sending");
  const body = new FormData();
  body.set("artwork", artwork.id);
  body.set("portrait", photo, "photo.jpg");
  const headers = { Accept: "application/json" };
  // Not aborted with the screen: what arrived could not be deleted without its address.
  const sent = { method: "POST", body, headers, timeout: UPLOAD_S };
  const address = (await json("/v1/compositions", sent)).links.self;
  if (signal.aborted) void deleted(address);
  signal.throwIfAborted();
  return address;
}

/** @param {Wall} wall @param {AbortSignal} signal */
async function watch(wall, signal) {
  const address = /** @type {string} */ (current().composition);
  let shown = Promise.resolve();
  for await (const { name, data } of events(`${address}/events`, signal)) {
    if (name === "failed") throw Problem.from(data);
    if (name === "cancelled") throw new Problem("not-found"); // the service stops
    // Every stage is seen, however fast the last ones came.
    if (name === "done") return Promise.all([finish(address, signal), shown]);
    if (!data.image) tell(name, { count: data.position });
    else {
      const picture = blob(data.image, { signal }).catch(() => null); // the next one will come
      shown = shown.then(async () => {
        const fetched = await picture;
        if (fetched) await wall.hang(fetched);
        tell(name);
      }).catch(() => {}); // the screen was left
    }
  }
}

/** Fetch the picture, and what it is compared with where there is such. */
async function finish(/** @type {string} */ address, /** @type {AbortSignal} */ signal) {
  const visit = current();
  const before = blob(`${address}/image?stage=composite`, { signal }).catch(() => null);
  const [done, composite] = await Promise.all([
    blob(`${address}/image`, { signal }), before, refreshDeadline(signal),
  ]);
  signal.throwIfAborted();
  visit.pictures = { done, composite };
  visit.photo = null;
}

/** @param {string} stage @param {Record<string, number>} [values] */
function tell(stage, values = {}) {
  write(find("step"), `progress.${stage}`, values);
  const reached = STAGES.indexOf(stage);
  [...find("steps").children].forEach((step, index) => {
    step.className = index < reached ? "past" : index === reached ? "now" : "";
  });
}
