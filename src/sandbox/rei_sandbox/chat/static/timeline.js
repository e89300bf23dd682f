// A chat's messages as blocks to show. Pure: no DOM here.

import { day } from "./dom.js";

const RUN_SECONDS_MAX = 600; // messages of one sender within that time stand close together

/**
 * The last `shown` messages as blocks: `{key, kind: "day", text}` or
 * `{key, kind: "message", own, first, last, messages}`; an album is one block of several messages.
 */
export function blocks(messages, userId, shown) {
  const ordered = [...messages].sort((one, other) => one.message_id - other.message_id);
  const made = [];
  let today = "";
  for (const message of ordered.slice(-shown)) {
    const date = day(message.date);
    if (date !== today) made.push({ key: `day:${date}`, kind: "day", text: date });
    today = date;
    const before = made.at(-1);
    const album = message.media_group_id;
    if (album && before.album === album) before.messages.push(message);
    else made.push({ key: key(message), kind: "message", album, own: message.from.id === userId, messages: [message] });
  }
  made.forEach((block, index) => {
    if (block.kind !== "message") return;
    block.first = !runsOn(made[index - 1], block);
    block.last = !runsOn(block, made[index + 1]);
  });
  return made;
}

function key(message) {
  return message.media_group_id ? `album:${message.media_group_id}` : `message:${message.message_id}`;
}

function runsOn(block, next) {
  if (block?.kind !== "message" || next?.kind !== "message" || block.own !== next.own) return false;
  return next.messages[0].date - block.messages.at(-1).date < RUN_SECONDS_MAX;
}

/** One line for the list of chats and for quotes. */
export function preview(message) {
  const words = (message.text ?? message.caption ?? "").replace(/\s+/g, " ").slice(0, 120);
  if (words) return message.photo ? `🖼 ${words}` : words;
  if (message.photo) return "🖼 Photo";
  if (message.document) return `📎 ${message.document.file_name ?? "File"}`;
  return "Message";
}
