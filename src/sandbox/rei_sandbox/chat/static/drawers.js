// On a desktop the people and the workbench stand beside the chat; where there is no room for
// them they are drawers. A closed drawer is inert: nobody tabs into it.

import { byId } from "./dom.js";

const DRAWERS = [
  { drawer: "people", opener: "open-people", room: matchMedia("(min-width: 860px)") },
  { drawer: "tools", opener: "open-tools", room: matchMedia("(min-width: 1180px)") },
];

export function setUpDrawers() {
  for (const each of DRAWERS) {
    byId(each.opener).addEventListener("click", () => show(each, true));
    each.room.addEventListener("change", () => show(each, false));
    show(each, false, { quietly: true });
  }
  document.addEventListener("click", ({ target }) => target.closest("[data-close-drawer]") && closeDrawers());
  document.addEventListener("keydown", ({ key }) => key === "Escape" && !document.querySelector("dialog[open]") && closeDrawers());
}

export function closeDrawers() {
  for (const each of DRAWERS) if (byId(each.drawer).classList.contains("open")) show(each, false);
}

function show({ drawer, opener, room }, open, { quietly = false } = {}) {
  const node = byId(drawer);
  const wasOpen = node.classList.contains("open");
  node.classList.toggle("open", open && !room.matches);
  node.inert = !room.matches && !open;
  byId(opener).setAttribute("aria-expanded", String(open && !room.matches));
  byId("shade").classList.toggle("shown", DRAWERS.some((each) => byId(each.drawer).classList.contains("open")));
  byId("chat").inert = DRAWERS.some((each) => byId(each.drawer).classList.contains("open"));
  if (quietly || room.matches) return;
  if (open) node.querySelector("[data-close-drawer]").focus();
  else if (wasOpen) byId(opener).focus();
}
