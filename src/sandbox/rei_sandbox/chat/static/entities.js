// A text with Telegram's entities as DOM nodes. Offsets count UTF-16 units, as JavaScript does.

import { el, icon } from "./dom.js";
import { payId, safeUrl } from "./links.js";

const LONG_QUOTE = 240; // an expandable quote shorter than that has nothing to expand

/**
 * Nodes of `text`. `act` has what a person can do with them: `command(text)`, `pay(id)`,
 * `copy(text)`.
 */
export function rich(text, entities = [], act) {
  const sorted = entities
    .filter((entity) => entity.length > 0 && entity.offset >= 0)
    .sort((one, other) => one.offset - other.offset || other.length - one.length);
  return nodes(text, 0, text.length, sorted, act);
}

/** The nodes of text[start:end]; each entity holds those that begin within it. */
function nodes(text, start, end, entities, act) {
  const made = [];
  let position = start;
  for (let index = 0; index < entities.length; index += 1) {
    const entity = entities[index];
    const from = Math.max(entity.offset, position);
    const to = Math.min(entity.offset + entity.length, end);
    if (from >= to) continue;
    if (from > position) made.push(document.createTextNode(text.slice(position, from)));
    const inner = [];
    while (index + 1 < entities.length && entities[index + 1].offset < to) inner.push(entities[++index]);
    const shown = text.slice(from, to);
    made.push(wrapped(entity, shown, nodes(text, from, to, inner, act), act));
    position = to;
  }
  if (position < end) made.push(document.createTextNode(text.slice(position, end)));
  return made;
}

function wrapped(entity, shown, children, act) {
  switch (entity.type) {
    case "bold": return el("strong", {}, children);
    case "italic": return el("em", {}, children);
    case "underline": return el("u", {}, children);
    case "strikethrough": return el("s", {}, children);
    case "spoiler": return spoiler(children);
    case "code": return copyable(shown, act);
    case "pre": return block(entity, shown, act);
    case "blockquote": return el("blockquote", {}, children);
    case "expandable_blockquote": return quote(shown, children);
    case "text_link": return link(entity.url, children, act);
    case "url": return link(/^[a-z]+:/i.test(shown) ? shown : `https://${shown}`, children, act);
    case "email": return link(`mailto:${shown}`, children, act);
    case "bot_command":
      return el("button", { type: "button", class: "word", onclick: () => act.command(shown) }, children);
    case "mention": case "text_mention": case "hashtag": case "cashtag": case "phone_number":
      return el("span", { class: "word" }, children);
    default: return el("span", {}, children);
  }
}

function link(address, children, act) {
  const url = safeUrl(address);
  if (!url) return el("span", {}, children);
  const attributes = { href: url.href, target: "_blank", rel: "noopener noreferrer" };
  const payment = payId(url);
  if (payment) attributes.onclick = (click) => { click.preventDefault(); act.pay(payment); };
  return el("a", attributes, children);
}

function spoiler(children) {
  const show = () => {
    node.classList.add("shown");
    node.removeAttribute("role");
    node.removeAttribute("tabindex");
    node.removeAttribute("aria-label");
  };
  const node = el("span", {
    class: "spoiler", role: "button", tabindex: "0", "aria-label": "Hidden text, show it", onclick: show,
    onkeydown: (press) => { if (press.key === "Enter" || press.key === " ") { press.preventDefault(); show(); } },
  }, el("span", {}, children));
  return node;
}

function copyable(shown, act) {
  return el("code", {},
    el("button", { type: "button", class: "copyable", title: "Copy", onclick: () => act.copy(shown) }, shown));
}

function block(entity, shown, act) {
  return el("pre", {},
    el("span", { class: "pre-head" }, entity.language || "code",
      el("button", { type: "button", "aria-label": "Copy the code", onclick: () => act.copy(shown) }, icon("copy"))),
    el("code", {}, shown));
}

function quote(shown, children) {
  if (shown.length < LONG_QUOTE) return el("blockquote", {}, children);
  const toggle = el("button", { type: "button", class: "word", "aria-expanded": "false" }, "Show more");
  const body = el("div", { class: "folded" }, children);
  toggle.addEventListener("click", () => {
    const folded = body.classList.toggle("folded");
    toggle.textContent = folded ? "Show more" : "Show less";
    toggle.setAttribute("aria-expanded", String(!folded));
  });
  return el("blockquote", {}, body, toggle);
}
