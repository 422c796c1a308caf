/** The live preview: camera frames to the service, and the painting with the visitor back. */

import { token } from "./api.js";
import { backOff, pause } from "./time.js";

const PATIENCE_MS = 500; // for a preview, before the next frame is sent all the same
const GIVEN_UP = [1008, 1011]; // a rule was broken; the previews fail

/** @typedef {{state: string, message: string, width: number, height: number}} Seen */

/**
 * Show previews until the signal aborts, or they fail for good.
 *
 * @param {object} options
 * @param {string} options.artwork its id.
 * @param {() => Promise<Blob>} options.frame takes a camera frame.
 * @param {(picture: ImageBitmap, seen: Seen) => void} options.show
 * @param {() => void} options.lost called when no previews come any more, for now or for good.
 * @param {AbortSignal} options.signal
 */
export async function preview({ artwork, frame, show, lost, signal }) {
  for (let failures = 0; ; failures++) {
    const connection = new Connection(artwork, frame, (picture, seen) => {
      failures = 0;
      show(picture, seen);
    });
    const code = await connection.run(signal);
    signal.throwIfAborted();
    lost();
    if (GIVEN_UP.includes(code)) return;
    await pause(backOff(failures), signal);
  }
}

class Connection {
  /** @type {Seen | null} */
  #seen = null;
  #timer = 0;
  #taking = false;

  /**
   * @param {string} artwork
   * @param {() => Promise<Blob>} frame
   * @param {(picture: ImageBitmap, seen: Seen) => void} show
   */
  constructor(artwork, frame, show) {
    const address = new URL("/v1/preview", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.socket = new WebSocket(address, token ? [`vivant.${token}`] : []);
    this.artwork = artwork;
    this.frame = frame;
    this.show = show;
  }

  /** @param {AbortSignal} signal @returns {Promise<number>} the code with which it closed. */
  run(signal) {
    const { socket } = this;
    signal.addEventListener("abort", () => socket.close(), { once: true });
    socket.onopen = () => {
      socket.send(JSON.stringify({ artwork: this.artwork }));
      void this.#send();
    };
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") this.#seen = JSON.parse(data);
      else if (!signal.aborted) void this.#arrived(data, signal);
    };
    return new Promise((resolve) => {
      socket.onclose = ({ code }) => {
        clearTimeout(this.#timer);
        resolve(code);
      };
    });
  }

  /** @param {Blob} data @param {AbortSignal} signal */
  async #arrived(data, signal) {
    const seen = this.#seen;
    void this.#send();
    const picture = await createImageBitmap(data).catch(() => null);
    if (picture && seen && !signal.aborted) this.show(picture, seen);
    picture?.close();
  }

  async #send() {
    clearTimeout(this.#timer);
    if (this.#taking) return;
    this.#taking = true;
    // A frame that could not be taken is the camera's affair; it is watched elsewhere.
    const frame = await this.frame().catch(() => null);
    this.#taking = false;
    if (this.socket.readyState !== WebSocket.OPEN) return;
    if (frame && !this.socket.bufferedAmount) this.socket.send(frame);
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.#send(), PATIENCE_MS);
  }
}
