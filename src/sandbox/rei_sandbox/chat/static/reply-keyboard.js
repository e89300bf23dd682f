// The keyboard that a bot puts below the text field (ReplyKeyboardMarkup), and ForceReply.

import { byId, el } from "./dom.js";

export class ReplyKeyboard {
  constructor(store, act, composer) {
    this._store = store;
    this._act = act;
    this._composer = composer;
    this._node = byId("reply-keyboard");
    this._toggle = byId("keys");
    this._toggle.addEventListener("click", () => this._show(this._node.hidden));
    store.on("keyboard", () => this._draw());
  }

  _draw() {
    const keyboard = this._store.user?.keyboard;
    this._composer.hint(keyboard?.input_field_placeholder);
    const rows = keyboard?.keyboard;
    this._toggle.hidden = !rows;
    this._node.replaceChildren(...(rows ?? []).map((row) => el("div", { class: "row" }, row.map((key) => this._key(key)))));
    this._show(Boolean(rows));
    if (keyboard?.force_reply) this._composer.focus();
  }

  _key(key) {
    const special = Object.keys(key).some((name) => name.startsWith("request_") || name === "web_app");
    const onclick = special
      ? () => this._act.notice("The sandbox has no such buttons. Real Telegram does.")
      : () => this._act.say(key.text).catch(() => {});
    return el("button", { type: "button", "data-testid": "reply-button", onclick }, key.text);
  }

  _show(visible) {
    const { user } = this._store;
    this._node.hidden = !visible || !user?.started || user.blocked;
    this._toggle.setAttribute("aria-pressed", String(!this._node.hidden));
    this._toggle.setAttribute("aria-label", this._node.hidden ? "Show the keyboard" : "Hide the keyboard");
  }
}
