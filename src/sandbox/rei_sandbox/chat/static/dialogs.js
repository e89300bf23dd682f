// What all dialogs have in common: a close button, and a click beside the sheet.

for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", (event) => {
    const button = event.target.closest("[data-close]");
    if (button || event.target === dialog) dialog.close();
  });
}
