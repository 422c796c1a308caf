/** The camera: its stream, photos of it, and noticing that it is gone. */

import { pause } from "./time.js";

const STALL_S = 5; // without a new frame
const START_S = 15;
const PREVIEW_SIDE = 640; // px, longest
const WISH = { facingMode: "user", width: { ideal: 1920 }, height: { ideal: 1080 } };

/** The camera is missing, denied, used by others, or was unplugged. */
export class CameraError extends Error {}

/** An opened camera. It closes when the signal aborts. */
export class Camera {
  /**
   * @param {HTMLVideoElement} video shows it.
   * @param {AbortSignal} signal
   * @throws {CameraError}
   */
  static async open(video, signal) {
    const stream = await openStream(signal);
    video.srcObject = stream;
    signal.addEventListener("abort", () => {
      stop(stream);
      if (video.srcObject === stream) video.srcObject = null;
    }, { once: true });
    await Promise.race([video.play(), pause(START_S, signal)]).catch((error) => {
      signal.throwIfAborted();
      throw new CameraError(String(error));
    });
    if (!video.videoWidth) throw new CameraError("no picture comes");
    return new Camera(video, stream);
  }

  /** @param {HTMLVideoElement} video @param {MediaStream} stream */
  constructor(video, stream) {
    this.video = video;
    this.stream = stream;
    this.canvas = document.createElement("canvas");
  }

  /** Watch the camera. @param {AbortSignal} signal @throws {CameraError} when it is gone. */
  async watch(signal) {
    const [track] = this.stream.getVideoTracks();
    let [time, seen] = [-1, 0];
    for (;;) {
      const now = this.video.currentTime;
      if (now !== time) [time, seen] = [now, performance.now()];
      await pause(0.5, signal);
      const stalled = performance.now() - seen > STALL_S * 1000 && !document.hidden;
      if (track.readyState === "ended" || stalled) throw new CameraError("the camera is gone");
    }
  }

  /** A photo as large as the camera gives it, not mirrored. @param {number} most bytes. */
  async photo(most) {
    for (let scale = 1; ; scale *= 0.7) {
      const photo = await this.#drawn(scale, 0.92);
      if (photo.size <= most) return photo;
    }
  }

  /** A small frame for the preview. */
  frame() {
    const longest = Math.max(this.video.videoWidth, this.video.videoHeight);
    return this.#drawn(Math.min(PREVIEW_SIDE / longest, 1), 0.8);
  }

  /** @param {number} scale @param {number} quality @returns {Promise<Blob>} */
  #drawn(scale, quality) {
    const { video, canvas } = this;
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    canvas.getContext("2d")?.drawImage(video, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve, reject) => {
      canvas.toBlob((picture) => {
        canvas.width = canvas.height = 0; // nothing of the visitor stays in it
        if (picture) resolve(picture);
        else reject(new CameraError("the camera gave no picture"));
      }, "image/jpeg", quality);
    });
  }
}

/** Wait until a camera can be opened. @param {AbortSignal} signal */
export async function untilCamera(signal) {
  for (;;) {
    await changed(signal);
    try {
      stop(await openStream(signal));
      return;
    } catch (error) {
      if (!(error instanceof CameraError)) throw error;
    }
  }
}

/** Wait until cameras were plugged in or out, or a few seconds. @param {AbortSignal} signal */
function changed(signal) {
  const turn = new AbortController();
  const plugged = new Promise((resolve) => {
    navigator.mediaDevices?.addEventListener("devicechange", resolve, { signal: turn.signal });
  });
  return Promise.race([plugged, pause(3, signal)]).finally(() => turn.abort());
}

/** @param {AbortSignal} signal @returns {Promise<MediaStream>} */
async function openStream(signal) {
  // Browsers offer cameras to this machine's own pages, and to others over HTTPS.
  if (!navigator.mediaDevices) throw new CameraError("cameras need localhost or HTTPS");
  const asked = navigator.mediaDevices.getUserMedia({ video: WISH, audio: false });
  let wanted = true;
  asked.then((stream) => (!wanted || signal.aborted) && stop(stream), () => {});
  try {
    const late = pause(START_S, signal).then(() => Promise.reject(new Error("no answer")));
    const stream = await Promise.race([asked, late]);
    signal.throwIfAborted();
    return stream;
  } catch (error) {
    wanted = false; // it may come yet
    signal.throwIfAborted();
    throw new CameraError(String(error));
  }
}

/** @param {MediaStream} stream */
function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}
