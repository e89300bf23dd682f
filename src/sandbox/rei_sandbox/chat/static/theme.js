// Light, dark, or as the system has it; remembered.

import { byId, icon } from "./dom.js";

const THEMES = { auto: "dark", dark: "light", light: "auto" };
const NAMES = { auto: "Colours: as the system", dark: "Colours: dark", light: "Colours: light" };

function show(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const button = byId("theme");
  button.replaceChildren(icon(theme));
  button.setAttribute("aria-label", NAMES[theme]);
  button.title = NAMES[theme];
}

export function setUpTheme() {
  const stored = localStorage.getItem("rei-theme");
  let theme = stored in THEMES ? stored : "auto";
  show(theme);
  byId("theme").addEventListener("click", () => {
    theme = THEMES[theme];
    localStorage.setItem("rei-theme", theme);
    show(theme);
  });
}
