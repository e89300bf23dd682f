// Building and keeping DOM nodes. Texts become text nodes, always: nothing here reads HTML.

const SVG = "http://www.w3.org/2000/svg";

/** A node: `el("button", {class: "wide", onclick: go}, "Go")`. False and null children are left out. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** One of the symbols at the top of the page. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export const byId = (id) => document.getElementById(id);

/**
 * Make the children of `parent` those of `items`, in order: `{key, signature, build(old)}`.
 * A child whose signature is the same stays as it is, with its focus, its scroll and its picture;
 * another one is built anew (`build` may give the old node back, changed).
 */
export function keep(parent, items) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let before = null;
  for (const { key, signature, build } of items) {
    const known = old.get(key);
    let node = known;
    if (!known || known.signature !== signature) {
      node = build(known);
      node.dataset.key = key;
      node.signature = signature;
      if (known && known !== node) known.replaceWith(node);
    }
    const place = before ? before.nextSibling : parent.firstChild;
    if (node !== place) parent.insertBefore(node, place);
    before = node;
    old.delete(key);
  }
  for (const gone of old.values()) gone.remove();
}

/** "14:05" */
export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
}

/** "Today", "24 November", "24 November 2025" */
export function day(seconds) {
  const date = new Date(seconds * 1000);
  const now = new Date();
  if (date.toDateString() === now.toDateString()) return "Today";
  const year = date.getFullYear() === now.getFullYear() ? undefined : "numeric";
  return date.toLocaleDateString("en-GB", { day: "numeric", month: "long", year });
}

/** "1.4 MB" */
export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${Math.round(bytes / 1024)} KB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}
