// The list of people whose chats can be looked at, and adding one.

import * as api from "./api.js";
import { byId, clock, el, keep } from "./dom.js";
import { closeDrawers } from "./drawers.js";
import { preview } from "./timeline.js";

const SHOWN_MAX = 99;
const COLOURS = 7;

export class People {
  constructor(store, act) {
    this._store = store;
    this._act = act;
    this._list = byId("people-list");
    this._wanted = 0;
    store.on("people", () => this._draw());
    store.on("people", () => this._openWanted());
    byId("add-person").addEventListener("click", () => {
      byId("person-form").reset();
      byId("person-problem").hidden = true;
      byId("person").showModal();
    });
    byId("person-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this._add();
    });
  }

  /** Open the chat of who has just been added; the stream may tell of them a moment later. */
  _openWanted() {
    const wanted = this._wanted;
    if (!this._store.users.has(wanted)) return;
    this._wanted = 0;
    this._store.open(wanted);
  }

  _draw() {
    const { current, users } = this._store;
    keep(this._list, [...users.values()].map((user) => {
      const unread = this._store.unread(user);
      const last = user.last_message;
      return {
        key: String(user.id),
        signature: JSON.stringify([user.first_name, user.language_code, user.blocked, unread, user.id === current, last]),
        build: (old) => this._row(user, { unread, last, current: user.id === current, old }),
      };
    }));
    const others = [...users.values()].reduce((sum, user) => sum + this._store.unread(user), 0);
    badge(byId("unread-total"), others);
  }

  _row(user, { unread, last, current, old }) {
    const focused = old?.contains(document.activeElement);
    const button = el("button", {
      type: "button", class: "person", "data-testid": `person-${user.id}`, "aria-current": current ? "true" : "false",
      onclick: () => {
        this._store.open(user.id);
        closeDrawers();
      },
    },
    avatar(user),
    el("span", { class: "person-name" }, el("b", {}, user.first_name), user.language_code && el("small", {}, user.language_code)),
    el("span", { class: "person-time" }, last ? clock(last.date) : ""),
    el("span", { class: "person-last" }, user.blocked ? "🚫 has blocked the bot" : last ? preview(last) : "has not written yet"),
    unread > 0 && el("span", { class: "badge", "data-testid": `unread-${user.id}` },
      count(unread), el("span", { class: "unseen" }, " unread")));
    if (focused) queueMicrotask(() => button.focus());
    return el("li", {}, button);
  }

  async _add() {
    const problem = byId("person-problem");
    try {
      const { user } = await api.addUser(byId("person-name").value.trim(), byId("person-language").value);
      byId("person").close();
      closeDrawers();
      this._wanted = user.id;
      this._openWanted();
    } catch (refused) {
      problem.textContent = refused.message;
      problem.hidden = false;
    }
  }
}

function avatar(user) {
  const [letter] = user.first_name;
  return el("span", { class: `avatar colour-${user.id % COLOURS}`, "aria-hidden": "true" }, letter.toUpperCase());
}

function count(number) {
  return number > SHOWN_MAX ? `${SHOWN_MAX}+` : String(number);
}

/** Show a number in a badge, and nothing for zero. */
export function badge(node, number) {
  node.hidden = number === 0;
  node.textContent = count(number);
}
