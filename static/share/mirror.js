/** The screen of another user's terminal: the same columns and rows, drawn as large as the element allows. */

import { Screen } from "../terminal/screen.js";

const SMALLEST_PX = 6;
const LARGEST_PX = 20;
const STEP_PX = 0.5;

export class Mirror extends Screen {
  constructor(element, hooks) {
    super(element, hooks);
    this.element = element;
    new ResizeObserver(() => this.#scale()).observe(element);
  }

  become({ cols, rows }) {
    this.terminal.resize(cols, rows);
    this.#scale();
  }

  #scale() {
    const { options } = this.terminal;
    const drawn = this.element.querySelector(".xterm-screen");
    const room = () => Math.min(this.element.clientWidth / drawn.offsetWidth, this.element.clientHeight / drawn.offsetHeight);
    const ideal = Math.floor((options.fontSize * room()) / STEP_PX) * STEP_PX;
    options.fontSize = Math.min(LARGEST_PX, Math.max(SMALLEST_PX, ideal));
    // Cells are whole pixels: the ideal may be a step too large.
    while (room() < 1 && options.fontSize > SMALLEST_PX) options.fontSize -= STEP_PX;
  }
}
