/** Server-sent events, read with ``fetch``: an ``EventSource`` cannot send the token. */

import { Problem, asked, request } from "./api.js";
import { backOff, pause } from "./time.js";

const SILENCE_S = 15; // the service says something every 5 s
const PATIENCE = 3; // lost connections in a row

/**
 * Yield the events of a composition until the last; lost connections are taken up again.
 *
 * @param {string} path
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<{name: string, data: any}>}
 * @throws {Problem} "not-found" where the service has forgotten it; "away".
 */
export async function* events(path, signal) {
  let last = "";
  for (let failures = 0; failures < PATIENCE; failures++) {
    try {
      for await (const event of connection(path, last, signal)) {
        failures = 0;
        last = event.id || last;
        yield event;
        if (["done", "failed", "cancelled"].includes(event.name)) return;
      }
    } catch (error) {
      if (!(error instanceof Problem && error.code === "away")) throw error;
    }
    await pause(backOff(failures), signal);
  }
  throw new Problem("away");
}

/** @param {string} path @param {string} last @param {AbortSignal} signal */
async function* connection(path, last, signal) {
  const hangUp = new AbortController();
  const both = AbortSignal.any([signal, hangUp.signal]);
  let timer = setTimeout(() => hangUp.abort(), SILENCE_S * 1000);
  const headers = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
  try {
    const response = await request(path, { headers, signal: both, timeout: 600 });
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const { done, value } = await asked(() => reader.read(), signal);
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => hangUp.abort(), SILENCE_S * 1000);
      const blocks = (text + decoder.decode(value, { stream: true })).split(/\r?\n\r?\n/);
      text = blocks.pop() ?? "";
      for (const block of blocks) {
        const event = parsed(block);
        if (event) yield event;
      }
    }
  } catch (error) {
    signal.throwIfAborted();
    if (hangUp.signal.aborted) throw new Problem("away");
    throw error;
  } finally {
    clearTimeout(timer);
    hangUp.abort();
  }
}

/** @param {string} block @returns {{id: string, name: string, data: any} | null} */
function parsed(block) {
  const fields = { id: "", event: "", data: "" };
  for (const line of block.split(/\r?\n/)) {
    const [, name, value] = line.match(/^(\w+): ?(.*)$/) ?? [];
    if (name === "data") fields.data += value;
    else if (name === "id" || name === "event") fields[name] = value;
  }
  return fields.event ? { id: fields.id, name: fields.event, data: JSON.parse(fields.data) } : null;
}
