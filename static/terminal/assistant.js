/** The assistant's panel: questions to a language model about the screen, or about the selection in it. */

import { api } from "../api.js";
import { Turn } from "./assistant-turn.js";
import { UNCONFIGURED, describeAbout } from "./assistant-words.js";

const LAST_LINES = 50;
const MAX_CHARACTERS = 100_000;
// With the question, at most 20 messages.
const HISTORY_MESSAGES = 18;
const TICK_MS = 500;
const NEAR_PX = 48;

const opener = document.getElementById("assistant-button");
const panel = document.getElementById("assistant");
const log = panel.querySelector(".log");
const form = panel.querySelector("form");
const question = form.elements.question;
const whole = matchMedia("(max-width: 760px)");
// Made inert while the panel covers the whole page.
const behind = [...document.querySelectorAll("body > header, body > main")];

export class Assistant {
  /** `sessionId()` is the terminal's, or null; `put(command)` types at the prompt and returns the obstacle, or "". */
  constructor(screen, { sessionId, put }) {
    this.screen = screen;
    this.sessionId = sessionId;
    this.put = put;
    this.turns = [];
    this.selection = "";
    this.isAbout = true;
    this.asking = null;
    this.asked = null;
    this.isAtEnd = true;
    opener.addEventListener("click", () => this.toggle());
    whole.addEventListener("change", () => this.#cover());
    panel.addEventListener("keydown", (event) => this.#key(event));
    // Captured before the terminal gets the key.
    document.addEventListener("keydown", (event) => this.#shortcut(event), { capture: true });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    question.addEventListener("input", () => this.#render());
    log.addEventListener("scroll", () => (this.isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_PX));
    screen.onSelection(() => this.#selected());
    this.#wire();
    setInterval(() => !panel.hidden && this.#tick(), TICK_MS);
  }

  /** Opens the panel, focuses it, or closes it if it has the focus. */
  toggle() {
    if (panel.hidden) this.open();
    else if (panel.contains(document.activeElement) || document.activeElement === opener) this.close();
    else this.#focus();
  }

  open() {
    // Opening the panel may resize the terminal, which may clear the selection.
    this.selection = this.screen.selection;
    panel.hidden = false;
    opener.setAttribute("aria-expanded", "true");
    this.#cover();
    this.#tick();
    this.#focus();
    this.#look();
  }

  close() {
    panel.hidden = true;
    opener.setAttribute("aria-expanded", "false");
    this.#cover();
    this.screen.focus();
  }

  #wire() {
    const actions = {
      close: () => this.close(),
      clear: () => this.#clear(),
      stop: () => this.asking.abort(),
      look: () => this.#look(),
      about: () => this.#setAbout(true),
      "not-about": () => this.#setAbout(false),
      begin: () => this.#begin("How do I "),
      wrong: () => this.#suggest("What is wrong here?"),
      explain: () => this.#suggest(this.#explanation),
    };
    for (const button of panel.querySelectorAll("[data-do]")) {
      button.addEventListener("click", actions[button.dataset.do]);
    }
  }

  #shortcut(event) {
    if (!event.ctrlKey || !event.shiftKey || event.key.toUpperCase() !== "A" || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    event.stopPropagation();
    this.toggle();
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.preventDefault();
      this.close();
    } else if (event.key === "Enter" && event.target === question && !event.shiftKey) {
      event.preventDefault();
      this.#submit();
    }
  }

  /** A resize of the terminal clears its selection too; the stored one is dropped only if the user cleared it. */
  #selected() {
    if (this.screen.selection || !panel.contains(document.activeElement)) this.selection = this.screen.selection;
    if (!panel.hidden) this.#tick();
  }

  #cover() {
    const isCovered = !panel.hidden && whole.matches;
    for (const element of behind) element.inert = isCovered;
  }

  /** The subject of the question: its text and description. Null without text, or if the user left it out. */
  #subject() {
    if (!this.isAbout) return null;
    const all = this.selection || this.screen.lastLines(LAST_LINES).join("\n");
    // A cut may leave half of a surrogate pair.
    const text = all.slice(-MAX_CHARACTERS).toWellFormed();
    if (!text.trim()) return null;
    const lines = text.replace(/\n+$/, "").split("\n").length;
    const isSelection = this.selection !== "";
    return { text, isSelection, words: describeAbout({ isSelection, lines, isCut: text.length < all.length }) };
  }

  get #explanation() {
    return this.selection ? "Explain what is selected" : "Explain what is on the screen";
  }

  #suggest(text) {
    this.isAbout = true;
    this.#ask(text);
  }

  #begin(text) {
    question.value = text;
    question.focus();
    this.#render();
  }

  #submit() {
    const text = question.value.trim();
    if (!text || this.asking || question.disabled) return;
    question.value = "";
    this.#ask(text);
  }

  #ask(text) {
    const subject = this.#subject();
    const body = {
      question: text,
      screen: subject && !subject.isSelection ? subject.text : null,
      selection: subject?.isSelection ? subject.text : null,
      session_id: this.sessionId(),
      history: this.#history(),
    };
    const turn = new Turn(body, subject?.words ?? "", {
      onGrowth: () => this.#follow(),
      onAgain: () => this.#run(turn),
      put: (command) => this.#put(command),
    });
    this.turns.push(turn);
    log.append(turn.element);
    this.isAtEnd = true;
    this.#run(turn);
  }

  #history() {
    const answered = this.turns.filter((turn) => turn.text);
    return answered
      .flatMap(({ body, text }) => [
        { role: "user", content: body.question },
        { role: "assistant", content: text },
      ])
      .slice(-HISTORY_MESSAGES);
  }

  async #run(turn) {
    if (this.asking) return;
    this.asking = new AbortController();
    this.asked = turn;
    this.askedAt = Date.now();
    this.#focus();
    this.#follow();
    try {
      await turn.run(this.asking.signal);
    } catch (error) {
      this.#drop(turn);
      this.#unconfigured(error.message);
    }
    this.asking = null;
    this.#tick();
  }

  /** Returns a question that could not be sent to the input field. */
  #drop(turn) {
    this.turns = this.turns.filter((each) => each !== turn);
    turn.element.remove();
    question.value ||= turn.body.question;
  }

  #clear() {
    this.asking?.abort();
    for (const { element } of this.turns) element.remove();
    this.turns = [];
    this.#render();
    this.#focus();
  }

  #put(command) {
    const obstacle = this.put(command);
    if (!obstacle && whole.matches) this.close();
    this.#slot("notice").textContent = obstacle;
  }

  #setAbout(isAbout) {
    this.isAbout = isAbout;
    this.#render();
    this.#focus();
  }

  /** On a phone a focused field opens the keyboard, which would cover half of the panel. */
  #focus() {
    (whole.matches ? log : question).focus();
  }

  /** Checks whether AI is configured; if that fails, the next question reports it. */
  async #look() {
    const { configured } = await api("/api/ai/status").catch(() => ({ configured: true }));
    if (configured) this.#slot("unconfigured").hidden = true;
    else this.#unconfigured(UNCONFIGURED);
    this.#render();
  }

  #unconfigured(text) {
    this.#slot("unconfigured").hidden = false;
    this.#slot("why").textContent = text;
    this.#slot("unconfigured").scrollIntoView({ block: "nearest" });
  }

  /** Scrolls to the end, unless the user has scrolled back. */
  #follow() {
    if (this.isAtEnd) log.scrollTop = log.scrollHeight;
    this.#render();
  }

  #tick() {
    this.#render();
    for (const turn of this.turns) turn.tick(Date.now(), this.asking !== null);
  }

  #render() {
    const subject = this.#subject();
    const isThere = this.#slot("unconfigured").hidden;
    this.#slot("welcome").hidden = !isThere || this.turns.length > 0;
    write(panel.querySelector("[data-do=explain]"), this.#explanation);
    panel.querySelector("[data-do=clear]").hidden = !this.turns.length;
    this.#slot("chip").hidden = subject === null;
    write(this.#slot("subject"), subject ? `About: ${subject.words}` : "");
    panel.querySelector("[data-do=about]").hidden = this.isAbout;
    question.disabled = !isThere;
    form.querySelector("[type=submit]").disabled = !isThere || this.asking !== null || !question.value.trim();
    this.#slot("progress").hidden = this.asking === null;
    if (!this.asking) return;
    const { provider } = this.asked;
    write(this.#slot("doing"), provider ? `${provider} is answering` : "Waiting for an answer");
    write(this.#slot("secs"), `${Math.floor((Date.now() - this.askedAt) / 1000)} s`);
  }

  #slot(name) {
    return panel.querySelector(`[data-slot=${name}]`);
  }
}

// Screen readers read a live region whenever it is written, so it is written only after a change.
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
