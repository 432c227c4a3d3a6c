/** The status bar: the state in words, a countdown where there is one, and the buttons that the state offers. */

const HINT_MS = 3_000;
const LONG_HINT_MS = 12_000;
const TICK_MS = 500;

export class StatusBar {
  /**
   * `describe(state, now)` gives `{text, detail, tone, offers}`; `actions` maps the name of each button (`data-offer`)
   * to what it does.
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

  /** Says something in passing. */
  hint(text, forMs = HINT_MS) {
    write("hint", text);
    clearTimeout(this.hintTimer);
    this.hintTimer = setTimeout(() => write("hint", ""), forMs);
  }

  /** Says in passing what had its place in the terminal, if it were free: for as long as it takes to be read. */
  tell(text) {
    this.hint(text, LONG_HINT_MS);
  }

  /** Puts the keyboard on the first button that is offered, else on the way back to the devices. */
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

// A live region is read out whenever it is written: leave it alone when nothing has changed.
function write(id, text) {
  const element = document.getElementById(id);
  if (element.textContent !== text) element.textContent = text;
}
