// A photo on the full screen; arrows turn to the others of the chat.

import { fileUrl } from "./api.js";
import { byId } from "./dom.js";
import { rich } from "./entities.js";

export class Viewer {
  constructor(act) {
    this._act = act;
    this._dialog = byId("viewer");
    this._image = byId("viewer-image");
    this._pictures = [];
    this._index = 0;
    byId("viewer-before").addEventListener("click", () => this._turn(-1));
    byId("viewer-after").addEventListener("click", () => this._turn(1));
    this._image.addEventListener("click", () => this._dialog.classList.toggle("full-size"));
    this._dialog.addEventListener("keydown", ({ key }) => {
      if (key === "ArrowLeft") this._turn(-1);
      if (key === "ArrowRight") this._turn(1);
    });
    this._swipe();
  }

  /** Show the photo of `message`, among `messages`. */
  photos(messages, message) {
    this._pictures = messages.map((each) => ({
      fileId: each.photo.at(-1).file_id, name: `photo-${each.message_id}.jpg`, caption: each.caption ?? "",
      entities: each.caption_entities,
    }));
    this._show(messages.indexOf(message));
  }

  /** Show one picture that was sent as a file. */
  file(file) {
    this._pictures = [{ fileId: file.file_id, name: file.file_name ?? "picture", caption: file.file_name ?? "" }];
    this._show(0);
  }

  _show(index) {
    this._index = Math.max(0, index);
    const { fileId, name, caption, entities } = this._pictures[this._index];
    this._dialog.classList.remove("full-size");
    this._image.src = fileUrl(fileId);
    this._image.alt = caption || name;
    const download = byId("viewer-download");
    download.href = fileUrl(fileId);
    download.download = name;
    byId("viewer-caption").replaceChildren(...rich(caption, entities, this._act));
    const many = this._pictures.length > 1;
    byId("viewer-count").textContent = many ? `${this._index + 1} of ${this._pictures.length}` : "";
    byId("viewer-before").hidden = this._index === 0;
    byId("viewer-after").hidden = this._index === this._pictures.length - 1;
    if (!this._dialog.open) this._dialog.showModal();
  }

  _turn(step) {
    const index = this._index + step;
    if (this._pictures[index]) this._show(index);
  }

  _swipe() {
    let from = null;
    this._dialog.addEventListener("touchstart", ({ touches }) => {
      from = touches.length === 1 ? { x: touches[0].clientX, y: touches[0].clientY } : null;
    }, { passive: true });
    this._dialog.addEventListener("touchend", ({ changedTouches: [touch] }) => {
      if (!from || this._dialog.classList.contains("full-size")) return;
      const x = touch.clientX - from.x;
      const y = touch.clientY - from.y;
      if (Math.abs(x) > 60 && Math.abs(x) > Math.abs(y)) this._turn(x < 0 ? 1 : -1);
      else if (y > 90) this._dialog.close();
    }, { passive: true });
  }
}
