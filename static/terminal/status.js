/** The status bar: the state as text, a countdown if there is one, and the buttons that the state offers. */

const HINT_MS = 3_000;
const LONG_HINT_MS = 12_000;
const TICK_MS = 500;

export class StatusBar {
  /**
   * `describe(state, now)` returns `{text, detail, tone, offers}`; `actions` maps the name of each button (`data-offer`)
   * to its handler.
   */
  constructor(title, describe, actions) {
    this.title = title;
    this.describe = describe;
    this.state = { name: "connecting" };
    this.buttons = [...document.querySelectorAll("[data-offer]")];
    for (const button of this.buttons) button.addEventListener("click", actions[button.dataset.offer]);
    setInterval(() => this.#render(), TICK_MS);
  }

  show(state) {
    this.state = state;
    this.#render();
  }

  /** Shows a hint for a moment. */
  hint(text, forMs = HINT_MS) {
    write("hint", text);
    clearTimeout(this.hintTimer);
    this.hintTimer = setTimeout(() => write("hint", ""), forMs);
  }

  /** Shows a notice that cannot be shown in the terminal now, long enough to be read. */
  tell(text) {
    this.hint(text, LONG_HINT_MS);
  }

  /** Moves the focus to the first visible button, or else to the link to the devices. */
  focus() {
    (this.buttons.find((button) => button.checkVisibility()) ?? document.querySelector("header a")).focus();
  }

  #render() {
    const { text, detail = "", tone, offers } = this.describe(this.state, Date.now());
    document.body.dataset.tone = tone;
    document.title = `${tone === "good" ? "" : `(${text}) `}${this.title}`;
    write("state", text);
    write("detail", detail);
    for (const button of this.buttons) button.hidden = !offers.includes(button.dataset.offer);
  }
}

// Screen readers read a live region whenever it is written, so it is written only after a change.
function write(id, text) {
  const element = document.getElementById(id);
  if (element.textContent !== text) element.textContent = text;
}
