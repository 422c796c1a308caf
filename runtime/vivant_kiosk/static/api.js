/** Requests to the service: with a time limit, the token, and its problems as errors. */

const TOKEN = "vivant-token";

/** What the service refused, or why it could not be asked. */
export class Problem extends Error {
  /**
   * @param {string} code as in "urn:vivant:problem:<code>"; or "away" where nobody answered.
   * @param {number} [retryAfter] seconds.
   */
  constructor(code, detail = "", retryAfter = 5) {
    super(`${code}: ${detail}`);
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** @param {{type?: string, detail?: string}} body of "application/problem+json". */
  static from(body, retryAfter = 5) {
    return new Problem((body.type ?? "").split(":").pop() || "failed", body.detail, retryAfter);
  }
}

/** The token comes as "#token=..." and leaves the address at once, for it may be on display. */
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(TOKEN, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(TOKEN);
}

export const token = takeToken();

/**
 * Ask the service.
 *
 * @param {string} path
 * @param {RequestInit & {timeout?: number}} [options] ``timeout``: seconds for the whole answer.
 * @returns {Promise<Response>} an answer that is no error.
 * @throws {Problem} or, once ``options.signal`` aborted, its reason.
 */
export async function request(path, { timeout = 10, signal, ...options } = {}) {
  const headers = new Headers(options.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  const signals = [AbortSignal.timeout(timeout * 1000), ...(signal ? [signal] : [])];
  const limits = { signal: AbortSignal.any(signals), headers };
  const response = await asked(() => fetch(path, { ...options, ...limits }), signal);
  if (response.ok) return response;
  if (response.status === 502 || response.status === 504) throw new Problem("away");
  const body = await response.json().catch(() => ({}));
  throw Problem.from(body, Number(response.headers.get("Retry-After")) || 5);
}

/** @param {string} path @param {RequestInit & {timeout?: number}} [options] */
export async function json(path, options = {}) {
  const response = await request(path, options);
  return asked(() => response.json(), options.signal);
}

/** @param {string} path @param {RequestInit & {timeout?: number}} [options] */
export async function blob(path, options = {}) {
  const response = await request(path, options);
  return asked(() => response.blob(), options.signal);
}

/**
 * Network errors and time limits, which have as many names as browsers, become "away".
 *
 * @template T
 * @param {() => Promise<T>} ask
 * @param {AbortSignal | null} [signal]
 * @returns {Promise<T>}
 */
export async function asked(ask, signal) {
  try {
    return await ask();
  } catch (error) {
    signal?.throwIfAborted();
    throw new Problem("away", String(error));
  }
}
