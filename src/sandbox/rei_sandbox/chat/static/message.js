// One block of the chat: a bubble with what is in it, and its buttons below.

import { fileUrl } from "./api.js";
import { clock, el, icon, keep, size } from "./dom.js";
import { rich } from "./entities.js";
import { inlineKeyboard } from "./inline-keyboard.js";
import { preview } from "./timeline.js";

const PHOTO_WIDTH_MAX = 400;
const PHOTO_HEIGHT_MAX = 420;
const PHOTO_WIDTH_MIN = 160;
const PHOTO_SIDE_SHOWN = 1280; // the size of a photo that a bubble loads
const ALBUM_ROWS = [[], [1], [2], [1, 2], [2, 2], [2, 3], [3, 3], [2, 2, 3], [2, 3, 3], [3, 3, 3], [2, 2, 3, 3]];
const RATIO_OF_SPAN = { 6: 1.7, 3: 1.15, 2: 0.95 };
const EMOJI_ONLY = /^(?:\p{Extended_Pictographic}[\u{1F3FB}-\u{1F3FF}\uFE0F]?(?:\u200D\p{Extended_Pictographic}\uFE0F?)*){1,3}$/u;

/** The node of a block; `old`, its node from before, is changed where it differs. */
export function messageNode(block, old, { act, presses }) {
  const node = old ?? el("article", {}, el("div", { class: "bubble" }));
  const [message] = block.messages;
  node.className = ["message", block.own ? "own" : "theirs", block.first && "first", block.last && "last"]
    .filter(Boolean).join(" ");
  node.dataset.testid = "message";
  node.dataset.own = String(block.own);
  node.dataset.messageId = String(message.message_id);
  node.setAttribute("aria-label", `${block.own ? "You" : "Bot"}, ${clock(message.date)}`);
  const bubble = node.querySelector(".bubble");
  const contents = parts(block, act);
  bubble.classList.toggle("bare", contents.length > 0 && contents.every(({ key }) => key === "photos" || key === "meta"));
  bubble.classList.toggle("with-photo", block.messages.some((each) => each.photo));
  keepFocus(node, () => {
    keep(bubble, contents);
    const rows = block.messages.length === 1 ? message.reply_markup?.inline_keyboard : null;
    const keyboard = node.querySelector(".buttons");
    if (rows) {
      const made = inlineKeyboard(message, rows, { act, presses });
      if (keyboard) keyboard.replaceWith(made);
      else node.append(made);
    } else keyboard?.remove();
  });
  return node;
}

/** What the block's node depends on. */
export function messageSignature(block, presses) {
  const waiting = block.messages.flatMap(({ message_id: id }) =>
    [...presses.keys()].filter((pressed) => pressed.startsWith(`${id}:`)));
  return JSON.stringify([block.first, block.last, block.messages, waiting]);
}

function parts(block, act) {
  const { messages } = block;
  const [message] = messages;
  const made = [];
  const add = (key, depends, build) => made.push({ key, signature: JSON.stringify(depends), build });
  const quoted = message.reply_to_message;
  if (quoted) add("quote", quoted, () => quote(quoted, block));
  const photos = messages.filter((each) => each.photo);
  if (photos.length) add("photos", photos.map((each) => each.photo), () => photoGrid(photos, act));
  for (const each of messages.filter((one) => one.document)) {
    add(`document:${each.message_id}`, each.document, () => documentRow(each.document, act));
    if (photos.length === 0 && each.caption) words(add, each, each.caption, each.caption_entities, act);
  }
  if (message.text) words(add, message, message.text, message.entities, act);
  const captioned = photos.filter((each) => each.caption);
  for (const each of captioned) words(add, each, each.caption, each.caption_entities, act);
  const edited = messages.some((each) => each.edit_date);
  add("meta", [message.date, edited], () => meta(messages.at(-1), edited));
  return made;
}

function words(add, message, text, entities, act) {
  add(`text:${message.message_id}`, [text, entities], () => {
    const big = EMOJI_ONLY.test(text) ? " big-emoji" : "";
    return el("div", { class: `words${big}`, dir: "auto", "data-testid": "message-text" }, rich(text, entities, act));
  });
}

function meta(message, edited) {
  const time = new Date(message.date * 1000);
  return el("span", { class: "meta" },
    edited && el("span", { "data-testid": "edited" }, "edited "),
    el("time", { datetime: time.toISOString(), title: time.toLocaleString() }, clock(message.date)));
}

function quote(message, block) {
  const name = message.from.is_bot ? "Bot" : block.own ? "You" : message.from.first_name;
  return el("div", { class: "quote" }, el("b", {}, name), el("span", {}, preview(message)));
}

function photoGrid(messages, act) {
  const rows = ALBUM_ROWS[messages.length] ?? [];
  const grid = el("div", { class: messages.length === 1 ? "photos single" : "photos album" });
  const spans = rows.flatMap((length) => Array(length).fill(6 / length));
  messages.forEach((message, index) => {
    const shown = shownSize(message.photo);
    const image = el("img", { src: fileUrl(shown.file_id), alt: message.caption ?? "Photo", width: shown.width,
      height: shown.height, loading: "lazy", decoding: "async" });
    const button = el("button", { type: "button", class: "photo", "aria-label": `Open photo${message.caption ? `: ${message.caption}` : ""}`,
      "data-testid": "photo", onclick: () => act.view(message) }, image);
    if (messages.length === 1) button.style.setProperty("--width", `${widthOf(shown)}px`);
    else inAlbum(button, spans[index] ?? 3);
    image.addEventListener("error", () => button.classList.add("lost"));
    grid.append(button);
  });
  return grid;
}

function inAlbum(button, span) {
  button.style.setProperty("--span", String(span));
  button.style.setProperty("--ratio", String(RATIO_OF_SPAN[span]));
}

function shownSize(sizes) {
  const fitting = sizes.filter(({ width, height }) => Math.max(width, height) <= PHOTO_SIDE_SHOWN);
  return fitting.at(-1) ?? sizes[0];
}

function widthOf({ width, height }) {
  const wide = Math.min(PHOTO_WIDTH_MAX, (PHOTO_HEIGHT_MAX * width) / height);
  return Math.round(Math.max(PHOTO_WIDTH_MIN, wide));
}

function documentRow(file, act) {
  const name = file.file_name ?? "file";
  const url = fileUrl(file.file_id);
  const picture = ["image/png", "image/jpeg", "image/webp"].includes(file.mime_type);
  const face = picture
    ? el("button", { type: "button", class: "thumb", "aria-label": `Look at ${name}`, "data-testid": "thumb",
        onclick: () => act.viewFile(file) }, el("img", { src: url, alt: "", loading: "lazy", decoding: "async" }))
    : el("span", { class: "thumb", "aria-hidden": "true" }, icon("file"));
  return el("div", { class: "document" }, face,
    el("a", { href: url, download: name, "data-testid": "document", "aria-label": `Download ${name}` },
      el("span", { class: "file-name" }, name),
      el("span", { class: "file-size" }, icon("download"), size(file.file_size ?? 0))));
}

/** Change a node under the focus without losing it. */
function keepFocus(node, change) {
  const focused = node.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  change();
  if (focused) [...node.querySelectorAll("[data-focus]")].find((each) => each.dataset.focus === focused)?.focus();
}
