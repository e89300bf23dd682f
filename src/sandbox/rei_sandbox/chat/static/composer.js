// Writing: the text field, the bot's commands above it, the bot's keyboard below it.

import * as api from "./api.js";
import { byId, el } from "./dom.js";

const COMMAND_TYPED = /^\/\w*$/;

export class Composer {
  constructor(store, act) {
    this._store = store;
    this._act = act;
    this._text = byId("text");
    this._menu = byId("commands");
    this._commands = [];
    this._chosen = -1;
    this._drafts = new Map(); // what was begun in a chat waits there
    this._owner = 0;
    this._listen();
    store.on("people", () => this._turn());
  }

  focus() {
    this._text.focus({ preventScroll: true });
  }

  /** Hint what to write, as the bot wishes. */
  hint(placeholder) {
    this._text.placeholder = placeholder || "Message";
  }

  _listen() {
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this._send();
    });
    this._text.addEventListener("input", () => this._changed());
    this._text.addEventListener("keydown", (event) => this._key(event));
    this._text.addEventListener("blur", () => setTimeout(() => this._menuHasFocus() || this._close(), 150));
    byId("slash").addEventListener("click", () => (this._menu.hidden ? this._open("") : this._close()));
    this._menu.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this._close({ back: true });
    });
  }

  /** Another chat has been opened: put this one's draft away. */
  _turn() {
    const { current } = this._store;
    if (current === this._owner) return;
    this._drafts.set(this._owner, this._text.value);
    this._owner = current;
    this._text.value = this._drafts.get(current) ?? "";
    this._commands = [];
    this._close();
    this._grow();
  }

  _send() {
    const text = this._text.value;
    if (!text.trim()) return;
    this._text.value = "";
    this._close();
    this._grow();
    this._act.say(text).catch(() => {
      if (!this._text.value) this._text.value = text; // so that nobody has to write it again
      this._grow();
    });
  }

  _key(event) {
    if (event.isComposing) return;
    if (!this._menu.hidden && this._menuKey(event)) {
      event.preventDefault();
      return;
    }
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this._send();
    }
  }

  _menuKey({ key }) {
    const options = [...this._menu.children];
    const step = { ArrowDown: 1, ArrowUp: -1 }[key];
    if (step && options.length) {
      this._choose((this._chosen + step + options.length) % options.length);
      return true;
    }
    if ((key === "Enter" || key === "Tab") && options[this._chosen]) {
      options[this._chosen].click();
      return true;
    }
    if (key === "Escape") {
      this._close();
      return true;
    }
    return false;
  }

  _changed() {
    this._grow();
    const { value } = this._text;
    if (COMMAND_TYPED.test(value)) this._open(value);
    else this._close();
  }

  async _open(typed) {
    const { current } = this._store;
    try {
      this._commands = (await api.bot(current)).commands;
    } catch (refused) {
      this._act.fail(refused);
      return;
    }
    const stale = typed && this._text.value !== typed;
    if (stale || current !== this._store.current) return;
    const fitting = this._commands.filter(({ command }) => `/${command}`.startsWith(typed));
    if (typed && fitting.length === 0) {
      this._close();
      return;
    }
    this._menu.replaceChildren(...fitting.map((command, index) => this._option(command, index)));
    if (fitting.length === 0) this._menu.append(el("p", { class: "about" }, "The bot has set no commands."));
    this._menu.hidden = false;
    this._expanded(true);
    this._chosen = -1;
    if (typed.length > 1) this._choose(0);
  }

  _option({ command, description }, index) {
    return el("button", {
      type: "button", class: "command", role: "option", id: `command-${index}`, "aria-selected": "false",
      "data-testid": "command", tabindex: "-1",
      onmousedown: (event) => event.preventDefault(), // the text keeps the focus
      onclick: () => this._pick(`/${command}`),
    }, el("b", {}, `/${command}`), el("span", {}, description));
  }

  _pick(command) {
    this._text.value = "";
    this._close();
    this._grow();
    this._act.say(command).catch(() => {});
    this.focus();
  }

  _choose(index) {
    this._chosen = index;
    [...this._menu.children].forEach((option, at) => option.setAttribute("aria-selected", String(at === index)));
    const option = this._menu.children[index];
    option?.scrollIntoView({ block: "nearest" });
    if (option?.id) this._text.setAttribute("aria-activedescendant", option.id);
  }

  _close({ back = false } = {}) {
    if (this._menu.hidden) return;
    this._menu.hidden = true;
    this._chosen = -1;
    this._expanded(false);
    this._text.removeAttribute("aria-activedescendant");
    if (back) this.focus();
  }

  _expanded(open) {
    for (const id of ["slash", "text"]) byId(id).setAttribute("aria-expanded", String(open));
    if (open) this.focus();
  }

  _menuHasFocus() {
    return this._menu.contains(document.activeElement) || document.activeElement === this._text
      || document.activeElement === byId("slash");
  }

  _grow() {
    this._text.style.setProperty("height", "auto");
    this._text.style.setProperty("height", `${this._text.scrollHeight}px`);
    byId("composer").classList.toggle("empty", !this._text.value.trim());
  }
}
