// The chat in the middle: its header, its messages, and where it is scrolled to.

import * as api from "./api.js";
import { byId, el, keep } from "./dom.js";
import { messageNode, messageSignature } from "./message.js";
import { blocks } from "./timeline.js";

const PAGE = 60; // messages shown at first, and with each "earlier"
const NEAR_PX = 120; // that close to the end, the chat follows new messages
const ACTIONS = {
  typing: "typing…", upload_photo: "sending a photo…", upload_document: "sending a file…",
  choose_sticker: "choosing a sticker…", find_location: "finding a place…",
};

export class ChatView {
  constructor(store, act) {
    this._store = store;
    this._act = act;
    this._timeline = byId("timeline");
    this._log = byId("log");
    this._shown = PAGE;
    this._owner = 0; // whose chat is on the screen
    this._seen = 0; // the newest message the person has scrolled to
    this._frame = 0;
    this._profile = {};
    store.on("chat", () => this._soon());
    store.on("acting", () => this._acting());
    store.on("live", () => this._acting());
    this._timeline.addEventListener("scroll", () => this._scrolled(), { passive: true });
    byId("earlier").addEventListener("click", () => this._earlier());
    byId("jump").addEventListener("click", () => this.toEnd("smooth"));
    byId("start").addEventListener("click", () => act.say("/start"));
    new ResizeObserver(() => this._pinned && this.toEnd()).observe(this._timeline);
    new ResizeObserver(() => this._pinned && this.toEnd()).observe(this._log);
    this._pinned = true;
  }

  /** Scroll to the newest message. */
  toEnd(behavior = "instant") {
    this._timeline.scrollTo({ top: this._timeline.scrollHeight, behavior });
  }

  /** The photos on the screen, oldest first, for the viewer. */
  photos() {
    return this._messages().filter((message) => message.photo);
  }

  /** Many events in one moment are one drawing. */
  _soon() {
    this._frame ||= requestAnimationFrame(() => {
      this._frame = 0;
      this._draw();
    });
    if (document.hidden) { // no frames are drawn there
      cancelAnimationFrame(this._frame);
      this._frame = 0;
      this._draw();
    }
  }

  _messages() {
    return [...(this._store.user?.messages?.values() ?? [])].sort((a, b) => a.message_id - b.message_id);
  }

  _draw() {
    const user = this._store.user;
    if (!user) return;
    const opened = this._owner !== user.id || !this._wasLoaded;
    if (this._owner !== user.id) this._present(user);
    this._owner = user.id;
    this._wasLoaded = user.loaded;
    if (opened) {
      this._shown = PAGE;
      this._pinned = true;
    }
    const messages = this._messages();
    const { presses } = this._store;
    this._log.setAttribute("aria-busy", String(opened));
    keep(this._log, blocks(messages, user.id, this._shown).map((block) => ({
      key: block.key,
      signature: block.kind === "day" ? block.text : messageSignature(block, presses),
      build: (old) => block.kind === "day" ? dayNode(block.text) : this._message(block, old, opened),
    })));
    this._log.setAttribute("aria-busy", "false");
    byId("earlier").hidden = messages.length <= this._shown;
    this._modes(user, messages);
    if (this._pinned || messages.at(-1)?.from.id === user.id && messages.at(-1).message_id > this._seen) this.toEnd();
    this._scrolled();
    byId("app").dataset.ready = String(user.loaded);
    byId("app").dataset.user = String(user.id);
  }

  _message(block, old, opened) {
    const node = messageNode(block, old, { act: this._act, presses: this._store.presses });
    if (!old && !opened) node.classList.add("arriving");
    return node;
  }

  /** What the chat offers: to start, to unblock, or to write. */
  _modes(user, messages) {
    const fresh = user.loaded && messages.length === 0;
    byId("welcome").hidden = !fresh;
    byId("start").hidden = user.started || user.blocked;
    byId("unblock").hidden = !user.blocked;
    byId("composer").hidden = user.blocked || !user.started;
    if (user.blocked || !user.started) byId("reply-keyboard").hidden = true;
    const block = byId("block");
    block.setAttribute("aria-pressed", String(user.blocked));
    block.title = user.blocked ? "Unblock the bot" : "Block the bot";
    block.setAttribute("aria-label", block.title);
  }

  /** How the bot shows itself to this user. */
  async _present(user) {
    let profile;
    try {
      profile = await api.bot(user.id);
    } catch {
      return; // the greeting is an ornament; the chat works without
    }
    if (this._store.user?.id !== user.id) return;
    byId("bot-name").textContent = profile.name;
    document.title = `${profile.name} · sandbox`;
    byId("welcome").replaceChildren(
      el("span", { class: "avatar bot big-avatar", "aria-hidden": "true" }, profile.name[0]),
      el("h2", {}, "What can this bot do?"),
      el("p", {}, profile.description || "It has not said yet. Press Start and find out."));
  }

  _acting() {
    const { live, user } = this._store;
    const action = user?.action && user.action.until > Date.now() ? user.action.kind : null;
    const subtitle = byId("subtitle");
    const text = !live ? "connecting…" : action ? ACTIONS[action] ?? "busy…" : "bot";
    if (subtitle.textContent !== text) subtitle.textContent = text;
    subtitle.dataset.acting = String(Boolean(live && action));
    byId("acting").hidden = !action;
    if (action && this._pinned) this.toEnd();
  }

  _earlier() {
    const { scrollHeight, scrollTop } = this._timeline;
    this._shown += PAGE;
    this._pinned = false;
    this._draw();
    this._timeline.scrollTop = scrollTop + this._timeline.scrollHeight - scrollHeight;
  }

  _scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this._timeline;
    this._pinned = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    const messages = this._messages();
    if (this._pinned) this._seen = messages.at(-1)?.message_id ?? 0;
    const below = messages.filter((message) => message.message_id > this._seen).length;
    byId("jump").hidden = this._pinned;
    byId("jump-count").hidden = below === 0;
    byId("jump-count").textContent = String(below);
  }
}

function dayNode(text) {
  return el("p", { class: "day" }, el("span", {}, text));
}
