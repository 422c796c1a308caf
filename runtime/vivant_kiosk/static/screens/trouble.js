/** What went wrong, and the way on: every trouble ends by itself or by a touch. */

import { Problem } from "../api.js";
import { CameraError, untilCamera } from "../camera.js";
import { untilReady, usualLanguage } from "../service.js";
import { find, on, setBack, show } from "../stage.js";
import { setLanguage, write } from "../texts.js";
import { countDown, pause } from "../time.js";
import { current, forgetPictures, isVisited, leave } from "../visit.js";

/** @typedef {{name: string, detail: any}} Place */
/** @typedef {{kind?: string, error?: unknown, from?: Place}} Detail */

/** @type {Record<string, string>} what the service's problems mean to a visitor. */
const KINDS = {
  away: "service", "not-ready": "service", "too-slow": "service",
  busy: "busy", nobody: "nobody", "no-place": "no-place",
  expired: "expired", "not-found": "expired", conflict: "expired",
  "unknown-artwork": "gone", empty: "empty", unauthorized: "staff", forbidden: "staff",
};
const WAITING = ["busy", "camera", "empty", "service"]; // after which the visitor goes on
const PASSING_S = 12;
const LOCKED_S = 10;

export const trouble = {
  /** @param {AbortSignal} signal @param {Detail} detail */
  async enter(signal, { kind, error, from = { name: "attract", detail: {} } }) {
    const what = kind ?? kindOf(error);
    if (what === "failed") console.error(error);
    if (!WAITING.includes(what)) void forgetPictures();
    if (!isVisited()) setLanguage(usualLanguage()); // at power-on, nothing has set it yet
    const { again, wait } = ways(what, error, from);
    document.body.dataset.trouble = what;
    signal.addEventListener("abort", () => delete document.body.dataset.trouble, { once: true });
    write(find("trouble-title"), `trouble.${what}.title`);
    write(find("trouble-text"), `trouble.${what}.text`);
    find("again").hidden = !again;
    if (again) write(find("again"), what === "expired" ? "trouble.go-on" : "trouble.again");
    find("other").hidden = what !== "no-place" && what !== "gone";
    find("leave").hidden = !isVisited();
    find("trouble-count").hidden = true;
    setBack(null);
    if (again) on(find("again"), "click", again, signal);
    on(find("other"), "click", () => show("choose"), signal);
    on(find("leave"), "click", leave, signal);
    await wait?.(signal);
  },
};

/** @param {unknown} error */
function kindOf(error) {
  if (error instanceof CameraError) return "camera";
  return error instanceof Problem ? (KINDS[error.code] ?? "failed") : "failed";
}

/**
 * @param {string} kind
 * @param {unknown} error
 * @param {Place} from
 * @returns {{again?: () => unknown, wait?: (signal: AbortSignal) => Promise<unknown>}}
 */
function ways(kind, error, from) {
  const back = () => show(from.name, from.detail);
  switch (kind) {
    case "camera": return { wait: (signal) => untilCamera(signal).then(() => show("camera")) };
    case "empty":
    case "service": return { wait: (signal) => untilReady(signal).then(back) };
    case "staff": return { wait: (signal) => pause(LOCKED_S, signal).then(reload) };
    case "busy": return { wait: (signal) => inLine(error, signal).then(back) };
    case "gone": return { wait: (signal) => untilReady(signal) };
    case "expired": return { again: () => show("choose"), wait: passing };
    default: return {
      again: current().artwork ? () => show("camera") : leave,
      wait: isVisited() ? undefined : passing,
    };
  }
}

const reload = () => location.reload();

/** Nobody has to touch anything. @param {AbortSignal} signal */
async function passing(signal) {
  await pause(PASSING_S, signal);
  await leave();
}

/** Wait as long as the service asked for. @param {unknown} error @param {AbortSignal} signal */
async function inLine(error, signal) {
  const count = find("trouble-count");
  count.hidden = false;
  const seconds = error instanceof Problem ? error.retryAfter : 5;
  await countDown(performance.now() + seconds * 1000, (left) => {
    count.textContent = String(left);
  }, signal);
}
