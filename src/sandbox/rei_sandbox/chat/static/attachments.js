// Sending pictures and files: by the button, by dropping them on the chat, by pasting.

import { byId, el, icon, size } from "./dom.js";

const ALBUM_MAX = 10;
const FILES_MAX = 30;
const PHOTO_KINDS = new Set(["image/png", "image/jpeg", "image/webp"]);

export class Attachments {
  constructor(store, act) {
    this._store = store;
    this._act = act;
    this._files = []; // {file, url}: url for a preview, given back when the dialog closes
    this._dialog = byId("attachment");
    this._listen();
  }

  _listen() {
    const input = byId("files");
    byId("attach").addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      this._offer([...input.files]);
      input.value = ""; // the same file can be chosen again
    });
    byId("attachment-form").addEventListener("submit", () => this._send());
    byId("as-file").addEventListener("change", () => this._draw());
    byId("caption").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      byId("attachment-form").requestSubmit();
    });
    this._dialog.addEventListener("close", () => this._forget());
    document.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length === 0) return;
      event.preventDefault();
      this._offer(files);
    });
    this._drop();
  }

  _drop() {
    const chat = byId("chat");
    const veil = byId("drop");
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    let depth = 0; // dragenter and dragleave come for each child
    chat.addEventListener("dragenter", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth += 1;
      veil.hidden = !this._canSend();
    });
    chat.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
    chat.addEventListener("dragleave", (event) => {
      if (!hasFiles(event)) return;
      depth = Math.max(0, depth - 1);
      veil.hidden = depth === 0 || !this._canSend();
    });
    chat.addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth = 0;
      veil.hidden = true;
      this._offer([...event.dataTransfer.files]);
    });
  }

  _canSend() {
    const { user } = this._store;
    return Boolean(user && !user.blocked);
  }

  /** Show what would be sent; more files may come while the dialog is open. */
  _offer(files) {
    if (files.length === 0) return;
    if (!this._canSend()) {
      this._act.notice("Unblock the bot first.");
      return;
    }
    const room = FILES_MAX - this._files.length;
    if (files.length > room) this._act.notice(`At most ${FILES_MAX} files at once.`);
    for (const file of files.slice(0, room)) {
      this._files.push({ file, url: isPhoto(file) ? URL.createObjectURL(file) : "" });
    }
    this._draw();
    if (this._dialog.open) return;
    byId("caption").value = byId("text").value; // what was begun becomes the caption
    this._dialog.showModal();
    byId("caption").focus();
  }

  _draw() {
    const photos = this._files.filter(({ file }) => isPhoto(file));
    byId("as-file-row").hidden = photos.length === 0;
    byId("attachment-title").textContent = title(this._asPhotos().length, this._asFiles().length);
    byId("previews").replaceChildren(...this._files.map((each) => el("li", { "data-testid": "preview" },
      each.url ? el("img", { src: each.url, alt: each.file.name }) : el("span", { class: "thumb", "aria-hidden": "true" }, icon("file")),
      el("span", {}, each.file.name || "Picture", el("small", {}, size(each.file.size))),
      el("button", { type: "button", class: "icon", "aria-label": `Leave out ${each.file.name}`, onclick: () => this._leaveOut(each) }, icon("close")))));
  }

  _leaveOut(which) {
    URL.revokeObjectURL(which.url);
    this._files = this._files.filter((each) => each !== which);
    if (this._files.length === 0) this._dialog.close();
    else this._draw();
  }

  _asPhotos() {
    return byId("as-file").checked ? [] : this._files.map(({ file }) => file).filter(isPhoto);
  }

  _asFiles() {
    const photos = new Set(this._asPhotos());
    return this._files.map(({ file }) => file).filter((file) => !photos.has(file));
  }

  _send() {
    const photos = this._asPhotos();
    const albums = [];
    for (let index = 0; index < photos.length; index += ALBUM_MAX) albums.push(photos.slice(index, index + ALBUM_MAX));
    const caption = byId("caption").value.trim();
    this._act.sendFiles({ albums, documents: this._asFiles(), caption });
    byId("text").value = "";
    byId("text").dispatchEvent(new Event("input"));
  }

  _forget() {
    for (const { url } of this._files) URL.revokeObjectURL(url);
    this._files = [];
    byId("as-file").checked = false;
    byId("caption").value = "";
  }
}

function isPhoto(file) {
  return PHOTO_KINDS.has(file.type);
}

function title(photos, files) {
  const count = (number, one) => (number === 1 ? `1 ${one}` : `${number} ${one}s`);
  return `Send ${[photos && count(photos, "photo"), files && count(files, "file")].filter(Boolean).join(" and ")}`;
}
