/** Modal dialogs as promises: `<dialog>` elements of the page, shown until one of their buttons or Escape closes them. */

/** Shows the dialog and resolves with its return value: the clicked button's value, or "" after Escape. */
export function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}
