// What the page knows: users, their chats, the numbers. Events go in, changes come out.
//
// Listen with `store.on("people" | "chat" | "keyboard" | "acting" | "status" | "live" | "answer" | "trouble", f)`.
// Events of a chat may come twice and while its messages are being loaded; each names a message by
// its id and the last word wins, so in the end it is right.

import * as api from "./api.js";

const ACTION_MS = 5_000; // Telegram shows "typing…" that long
const ANSWERS_MAX = 100;
const MESSAGES_MAX = 1000; // of a chat, as the sandbox keeps them
const PRESS_MS_MAX = 60_000; // a press that is not answered by then never will be

export class Store {
  constructor() {
    this.users = new Map();
    this.bot = { first_name: "Rei" };
    this.faults = {};
    this.status = null;
    this.live = false;
    this.current = 0;
    this.presses = new Map(); // "message:data" → query id, "" until it is known
    this._answers = new Map(); // query id → event, for answers that overtake their press
    this._handlers = new Map();
    this._read = loadRead();
  }

  on(topic, handler) {
    if (!this._handlers.has(topic)) this._handlers.set(topic, []);
    this._handlers.get(topic).push(handler);
  }

  emit(topic, detail) {
    for (const handler of this._handlers.get(topic) ?? []) handler(detail);
  }

  get user() {
    return this.users.get(this.current);
  }

  setLive(live) {
    if (this.live === live) return;
    this.live = live;
    this.emit("live");
  }

  apply(event) {
    const handler = this[`_on_${event.event}`];
    if (handler) handler.call(this, event, this.users.get(event.user_id));
  }

  /** Show this user's chat; its messages are loaded unless they are here. */
  async open(userId) {
    if (!this.users.has(userId)) return;
    this.current = userId;
    localStorage.setItem("rei-user", String(userId));
    this.markRead();
    this.emit("people");
    this.emit("keyboard");
    this.emit("acting");
    this.emit("chat");
    await this._load(this.user);
  }

  /** How many of the bot's messages this user has not looked at. */
  unread(user) {
    const read = this._read[user.id] ?? 0;
    let count = 0;
    for (const id of user.botIds) if (id > read) count += 1;
    return count;
  }

  /** The current chat has been looked at. */
  markRead() {
    const user = this.user;
    if (!user || document.hidden) return;
    const newest = Math.max(0, ...user.botIds);
    if (newest <= (this._read[user.id] ?? 0)) return;
    this._read[user.id] = newest;
    localStorage.setItem("rei-read", JSON.stringify(this._read));
    this.emit("people");
  }

  /** Press an inline button; its spinner turns until the bot answers. */
  async press(messageId, data) {
    const key = `${messageId}:${data}`;
    if (this.presses.has(key)) return;
    this.presses.set(key, "");
    this.emit("chat");
    const free = () => {
      this.presses.delete(key);
      this.emit("chat");
    };
    try {
      const { query_id: queryId } = await api.press(this.current, messageId, data);
      if (this._answers.delete(queryId)) return free();
      this.presses.set(key, queryId);
      setTimeout(() => this.presses.get(key) === queryId && free(), PRESS_MS_MAX);
    } catch (refused) {
      free();
      throw refused;
    }
  }

  _on_snapshot({ bot, users, faults, status }) {
    this.bot = bot;
    this.faults = faults;
    this.status = status;
    this.users = new Map(users.map((user) => [user.id, asUser(user)]));
    this.presses.clear();
    this.emit("status");
    const wanted = this.current || Number(localStorage.getItem("rei-user"));
    this.open(this.users.has(wanted) ? wanted : (users[0]?.id ?? 0));
  }

  _on_message({ message }, user) {
    if (!user) return;
    user.last_message = message;
    if (message.from.is_bot) {
      user.botIds.add(message.message_id);
      user.action = null;
    }
    this._put(user, message);
    if (user.id === this.current) {
      this.markRead();
      this.emit("acting");
    }
    this.emit("people");
  }

  _on_edit({ message }, user) {
    if (!user) return;
    if (user.last_message?.message_id === message.message_id) {
      user.last_message = message;
      this.emit("people");
    }
    this._put(user, message);
  }

  _on_delete({ message_id: id }, user) {
    if (!user) return;
    user.botIds.delete(id);
    user.messages?.delete(id);
    user.gone.add(id);
    if (user.last_message?.message_id === id) {
      user.last_message = user.messages ? [...user.messages.values()].pop() ?? null : null;
    }
    this.emit("people");
    if (user.id === this.current) this.emit("chat");
  }

  _on_user({ user: shown }, user) {
    if (user) Object.assign(user, shown);
    else this.users.set(shown.id, asUser({ ...shown, keyboard: null, last_message: null, bot_message_ids: [] }));
    this.emit("people");
    if (shown.id === this.current) this.emit("chat");
  }

  _on_keyboard({ keyboard }, user) {
    if (!user) return;
    user.keyboard = keyboard;
    if (user.id === this.current) this.emit("keyboard");
  }

  _on_action({ action }, user) {
    if (!user) return;
    user.action = action === "cancel" ? null : { kind: action, until: Date.now() + ACTION_MS };
    this.emit("acting");
    setTimeout(() => this.emit("acting"), ACTION_MS + 20);
  }

  _on_answer(event, user) {
    const pressed = [...this.presses].find(([, queryId]) => queryId === event.query_id);
    if (pressed) {
      this.presses.delete(pressed[0]);
      this.emit("chat");
    } else {
      this._answers.set(event.query_id, event);
      while (this._answers.size > ANSWERS_MAX) this._answers.delete(this._answers.keys().next().value);
    }
    if (event.text) this.emit("answer", { ...event, user });
  }

  _on_status({ status }) {
    this.status = status;
    this.emit("status");
  }

  _put(user, message) {
    user.messages?.set(message.message_id, message);
    if (user.messages?.size > MESSAGES_MAX) user.messages.delete(Math.min(...user.messages.keys()));
    if (user.id === this.current) this.emit("chat");
  }

  /** Load a chat; what events bring meanwhile is already in `messages` and is newer. */
  async _load(user) {
    if (!user || user.messages) return;
    user.messages = new Map();
    user.gone.clear();
    try {
      const { messages, keyboard } = await api.messages(user.id);
      const meanwhile = user.messages;
      user.messages = new Map(messages.map((message) => [message.message_id, message]));
      for (const [id, message] of meanwhile) user.messages.set(id, message);
      for (const id of user.gone) user.messages.delete(id);
      user.keyboard = keyboard;
      user.loaded = true;
    } catch (refused) {
      user.messages = null;
      this.emit("trouble", refused); // the next snapshot tries again
      return;
    }
    if (this.users.get(user.id) !== user) return; // a newer snapshot has come
    if (user.id === this.current) {
      this.emit("keyboard");
      this.emit("chat");
    }
  }
}

function asUser(shown) {
  const { bot_message_ids: ids, ...user } = shown;
  return { ...user, botIds: new Set(ids), gone: new Set(), messages: null, loaded: false, action: null };
}

function loadRead() {
  try {
    return JSON.parse(localStorage.getItem("rei-read")) ?? {};
  } catch {
    return {};
  }
}
