// Short notices that go by themselves, and the bot's alert that waits for OK.

import { byId, el } from "./dom.js";

const SHOWN_MS = 3_500;
const FAILURE_MS = 7_000;
const TOASTS_MAX = 3;

/** A notice; `kind` is "notice", "failure" or "answer" (of the bot to a button). */
export function toast(text, kind = "notice") {
  const toasts = byId("toasts");
  const node = el("p", { class: `toast ${kind}`, "data-testid": "toast", "data-kind": kind }, text);
  toasts.append(node);
  while (toasts.children.length > TOASTS_MAX) toasts.firstChild.remove();
  setTimeout(() => node.remove(), kind === "failure" ? FAILURE_MS : SHOWN_MS);
}

/** answerCallbackQuery with show_alert: one at a time, each waits for the one before. */
export function alertWindow(text) {
  queue.push(text);
  if (!byId("alert").open) next();
}

const queue = [];

function next() {
  const text = queue.shift();
  if (text === undefined) return;
  byId("alert-text").textContent = text;
  byId("alert").showModal();
}

byId("alert").addEventListener("close", next);
