// The buttons below a message.

import { el, icon } from "./dom.js";
import { payId, safeUrl } from "./links.js";

/** Rows of buttons; those that wait for the bot's answer have a spinner. */
export function inlineKeyboard(message, rows, { act, presses }) {
  return el("div", { class: "buttons", role: "group", "aria-label": "Buttons of the message" },
    rows.map((row) => el("div", { class: "row" }, row.map((button) => made(message, button, { act, presses })))));
}

function made(message, button, { act, presses }) {
  if (button.callback_data !== undefined) return callback(message, button, { act, presses });
  if (button.url !== undefined) return link(button, act);
  if (button.copy_text !== undefined) {
    return plain(button, "copy", () => act.copy(button.copy_text.text));
  }
  return plain(button, "out", () => act.notice("The sandbox has no such buttons. Real Telegram does."));
}

function callback(message, button, { act, presses }) {
  const waiting = presses.has(`${message.message_id}:${button.callback_data}`);
  return el("button", {
    type: "button", class: "inline", "data-testid": "inline-button", "data-focus": button.callback_data,
    "aria-busy": waiting ? "true" : "false",
    onclick: () => act.press(message.message_id, button.callback_data),
  }, el("span", {}, button.text), waiting && el("i", { class: "spinner", "aria-hidden": "true" }));
}

function link(button, act) {
  const url = safeUrl(button.url);
  if (!url) return plain(button, "out", () => act.notice("This address cannot be opened."));
  const attributes = {
    href: url.href, target: "_blank", rel: "noopener noreferrer", class: "inline",
    "data-testid": "inline-link", "data-focus": button.url, title: url.href,
  };
  const payment = payId(url);
  if (payment) attributes.onclick = (click) => { click.preventDefault(); act.pay(payment); };
  return el("a", attributes, el("span", {}, button.text), icon("out"));
}

function plain(button, sign, onclick) {
  return el("button", { type: "button", class: "inline", "data-testid": "inline-button", onclick },
    el("span", {}, button.text), icon(sign));
}
