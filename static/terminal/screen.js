/** The screen: xterm.js in its element. Takes output as bytes, reports input and size. */

import { FitAddon } from "../vendor/xterm/addon-fit.mjs";
import { Terminal } from "../vendor/xterm/xterm.mjs";

const THEME = {
  background: "#0e1416", foreground: "#d5dcdd", cursor: "#5eead4", selectionBackground: "#2f5d62",
  black: "#1c2427", red: "#f07178", green: "#8bd49c", yellow: "#e6c073", blue: "#73aeea", magenta: "#c99ae8",
  cyan: "#5fcfd0", white: "#d5dcdd", brightBlack: "#6b7a7e", brightRed: "#ff9a9e", brightGreen: "#b2efc0",
  brightYellow: "#ffdf9e", brightBlue: "#a3cfff", brightMagenta: "#e4c1fb", brightCyan: "#93f0ef", brightWhite: "#ffffff",
};
const FONT = 'ui-monospace, "Cascadia Mono", "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace';
// As the server's notices.
const YELLOW = 33;
// At 1 the next line covers the underscores of some fonts (DejaVu Sans Mono).
const LINE_HEIGHT = 1.15;
// Reports that the terminal sends by itself (answers to queries, focus, mouse) are not keys.
const REPORT = /^\x1b(?:[P\]].|\[(?:[IO]$|[?><M]|[\d;]*[nRt]$))/;
// The prompts of routers and switches in the middle of long output: `--More--`, `---(more 40%)---`, `<--- More --->`.
const PAGER = /-\s*\(?more\b/i;
const PASTE_BRACKET = /\x1b\[20[01]~/g;
const encoder = new TextEncoder();

export class Screen {
  /**
   * `onInput(bytes, keys)` for typed or pasted input, `onLeave()` for the key that leaves the terminal. With
   * `onResize({cols, rows})` the screen takes the size of its element, otherwise it keeps its own.
   */
  constructor(element, { onInput, onResize, onLeave }) {
    this.terminal = new Terminal({
      theme: THEME, fontFamily: FONT, fontSize: 14, lineHeight: LINE_HEIGHT, scrollback: 10_000, cursorBlink: true,
    });
    this.unwrittenBytes = 0;
    this.terminal.open(element);
    this.terminal.onData((text) => onInput(encoder.encode(text), countKeys(text)));
    this.terminal.onBinary((text) => onInput(Uint8Array.from(text, (character) => character.charCodeAt(0)), 0));
    this.terminal.attachCustomKeyEventHandler((event) => this.#isTerminalKey(event, onLeave));
    if (onResize) this.#fill(element, onResize);
  }

  get size() {
    return { cols: this.terminal.cols, rows: this.terminal.rows };
  }

  write(bytes) {
    this.unwrittenBytes += bytes.length;
    this.terminal.write(bytes, () => (this.unwrittenBytes -= bytes.length));
  }

  /** Writes a line of the page itself, not of the device; `colour` is an SGR number. */
  say(text, colour) {
    const line = text.replace(/[\x00-\x1f\x7f-\x9f]/g, " ");
    this.terminal.write(`\r\n\x1b[${colour}m${breakLines(line, this.terminal.cols)}\x1b[0m\r\n`);
  }

  /** Writes a notice on its own line, or calls `otherwise(text)` where it would damage a full-screen program. */
  tell(text, otherwise) {
    // Output that is not drawn yet may start such a program, or end it.
    this.terminal.write("", () => {
      if (this.terminal.buffer.active.type === "normal") this.say(`[${text}]`, YELLOW);
      else otherwise(text);
    });
  }

  /** Clears everything after the pending output, with RIS as a device would. */
  reset() {
    this.terminal.write("\x1bc");
  }

  focus() {
    this.terminal.focus();
  }

  /** The selected text, or "". */
  get selection() {
    return this.terminal.getSelection();
  }

  /** Calls `listener` after each change of the selection. */
  onSelection(listener) {
    this.terminal.onSelectionChange(listener);
  }

  /** The last lines of the screen and its scrollback, at most `count`; wrapped lines are joined. */
  lastLines(count) {
    const buffer = this.terminal.buffer.active;
    const lines = [];
    let continuation = "";
    for (let y = buffer.length - 1; y >= 0 && lines.length < count; y--) {
      const row = buffer.getLine(y);
      continuation = row.translateToString(continuation === "") + continuation;
      if (row.isWrapped) continue;
      if (continuation || lines.length) lines.unshift(continuation.trimEnd());
      continuation = "";
    }
    return lines;
  }

  /** Whether a full-screen program or a pager is running, which acts on single keys. */
  get takesSingleKeys() {
    const buffer = this.terminal.buffer.active;
    const line = buffer.getLine(buffer.baseY + buffer.cursorY).translateToString(true);
    return buffer.type === "alternate" || PAGER.test(line);
  }

  /** Sends the text as keyboard input. */
  type(text) {
    this.terminal.input(text);
  }

  #fill(element, onResize) {
    const fit = new FitAddon();
    this.terminal.loadAddon(fit);
    fit.fit();
    this.terminal.onResize(onResize);
    new ResizeObserver(() => fit.fit()).observe(element);
  }

  #isTerminalKey(event, onLeave) {
    if (event.type !== "keydown" || !event.ctrlKey || !event.shiftKey) return true;
    if (event.code === "ArrowUp") onLeave();
    else if (event.code === "KeyC" && this.terminal.hasSelection()) navigator.clipboard.writeText(this.terminal.getSelection());
    else return true;
    event.preventDefault();
    return false;
  }
}

/** Breaks a text between words; the terminal would break it inside words. */
function breakLines(text, cols) {
  return text.replace(new RegExp(`(?!.{1,${cols}}$)(.{1,${cols}}) +`, "g"), "$1\r\n");
}

/** The number of keys as a user counts them; each character of a paste is one. */
function countKeys(text) {
  const typed = text.replace(PASTE_BRACKET, "");
  if (REPORT.test(typed)) return 0;
  return typed.startsWith("\x1b") ? 1 : [...typed].length;
}
