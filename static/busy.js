/** Buttons that cannot be pressed again while a call is under way. */

/** Disables the buttons while `work` runs. A disabled button loses the focus: it gets it back, unless that is elsewhere now. */
export async function whileBusy(buttons, work) {
  const focused = buttons.find((button) => button === document.activeElement);
  buttons.forEach((button) => (button.disabled = true));
  try {
    return await work();
  } finally {
    buttons.forEach((button) => (button.disabled = false));
    if (document.activeElement === document.body) focused?.focus();
  }
}
