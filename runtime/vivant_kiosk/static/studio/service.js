// @ts-check
/** The service's admin routes. The token is kept by this tab, and by nothing else. */

const KEY = "vivant-admin-token";
const ROOT = "/v1/admin";

/** What the service objects to; ``message`` is one line for the curator. */
export class Problem extends Error {
  /** @param {number} status @param {string} detail */
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export const hasToken = () => sessionStorage.getItem(KEY) !== null;

/** @param {string} token */
export const keepToken = (token) => sessionStorage.setItem(KEY, token);

export const forgetToken = () => sessionStorage.removeItem(KEY);

/**
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<Response>}
 */
async function ask(path, options = {}) {
  let response;
  try {
    const token = sessionStorage.getItem(KEY) ?? "";
    response = await fetch(ROOT + path, {
      ...options,
      cache: "no-store",
      headers: { Authorization: `Bearer ${token}` },
    });
  } catch (error) {
    if (/** @type {Error} */ (error).name === "AbortError") throw error;
    if (error instanceof TypeError && /header|ByteString|ISO-8859/.test(error.message)) {
      throw new Problem(401, "the token has letters that no token has");
    }
    throw new Problem(0, "the service does not answer; see that it runs");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Problem(response.status, problem.detail ?? `the service answered ${response.status}`);
}

/** @param {string} id */
const of = (id) => `/artworks/${encodeURIComponent(id)}`;

/** What is in the folder. */
export const list = async () => (await ask("/artworks")).json();

/** @param {string} id */
export const tables = async (id) => (await ask(of(id))).json();

/** @param {string} id @returns {Promise<Blob>} */
export const thumbnail = async (id) => (await ask(`${of(id)}/thumbnail`)).blob();

/** @param {string} id @param {string} name @returns {Promise<Blob>} */
export const file = async (id, name) => {
  const path = name.split("/").map(encodeURIComponent).join("/");
  return (await ask(`${of(id)}/files/${path}`)).blob();
};

/** @param {string} id @param {FormData} form */
export const save = async (id, form) =>
  (await ask(of(id), { method: "PUT", body: form })).json();

/** @param {string} id */
export const remove = (id) => ask(of(id), { method: "DELETE" });

/**
 * Composes a portrait into a draft.
 * @param {FormData} form
 * @param {AbortSignal} signal
 * @returns {Promise<{picture: Blob, facts: any}>}
 */
export async function attempt(form, signal) {
  const response = await ask("/trials", { method: "POST", body: form, signal });
  const facts = JSON.parse(response.headers.get("Vivant-Facts") ?? "{}");
  return { picture: await response.blob(), facts };
}
