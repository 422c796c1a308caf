/** Waiting, and time in words. */

/**
 * Wait; an aborted signal ends it with the signal's reason.
 *
 * @param {number} seconds
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const end = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", end); // a screen may be on for weeks
      resolve();
    }, seconds * 1000);
    signal.addEventListener("abort", end, { once: true });
  });
}

/**
 * Call ``tell`` now and whenever another whole second is left, the last time with 0.
 *
 * @param {number} until milliseconds on the clock of ``performance.now``, which nobody can set.
 * @param {(left: number) => void} tell
 * @param {AbortSignal} signal
 */
export async function countDown(until, tell, signal) {
  for (;;) {
    const left = Math.max((until - performance.now()) / 1000, 0);
    tell(Math.ceil(left));
    if (!left) return;
    await pause(left % 1 || 1, signal);
  }
}

/** @param {number} seconds @returns {string} minutes and seconds, such as "1:05". */
export function clock(seconds) {
  const whole = Math.ceil(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** @param {number} seconds @param {string} language @returns {string} such as "2 minutes". */
export function duration(seconds, language) {
  const [value, unit] = seconds % 60 ? [seconds, "second"] : [seconds / 60, "minute"];
  return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long" }).format(value);
}

/** How long to wait before the next try, in seconds: 0.5, 1, 2, 4, 8, 10, 10 ... */
export const backOff = (/** @type {number} */ failures) => Math.min(0.5 * 2 ** failures, 10);
