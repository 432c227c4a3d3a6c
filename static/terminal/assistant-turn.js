/** One question and its answer in the assistant's panel. */

import { codeElement } from "./assistant-code.js";
import { draw, parse } from "./assistant-markdown.js";
import { ask } from "./assistant-stream.js";
import { CUT, STOPPED, TOO_LONG, describeMoment, describeOrigin, describeWait } from "./assistant-words.js";

export class Turn {
  /**
   * `body` is the request, `about` a description of its subject or "". The callbacks: `onGrowth()` after each change of
   * the view, `onAgain()` to repeat the question, `put(command)` to type at the prompt.
   */
  constructor(body, about, hooks) {
    this.body = body;
    this.hooks = hooks;
    this.element = document.getElementById("assistant-turn").content.cloneNode(true).firstElementChild;
    this.#slot("question").textContent = body.question;
    this.#slot("about").textContent = about && `About: ${about}`;
    this.again = this.element.querySelector("[data-do=again]");
    this.again.addEventListener("click", () => hooks.onAgain());
    this.#reset();
  }

  /** The answering provider, or "" while it is not known. */
  get provider() {
    return this.origins.at(-1)?.provider ?? "";
  }

  /** Sends the question and shows the answer until its end. Throws ApiError when AI is not configured. */
  async run(signal) {
    this.#reset();
    this.element.setAttribute("aria-busy", "true");
    try {
      let isOver = false;
      for await (const event of ask(this.body, signal)) isOver = this.#take(event) || isOver;
      if (!isOver) this.#fail(CUT);
    } catch (error) {
      if (error.code === "NOT_CONFIGURED") throw error;
      if (signal.aborted) this.#fail(STOPPED, { isError: false });
      else if (this.origins.length) this.#fail(CUT);
      else this.#refused(error);
    } finally {
      if (this.origins.length) this.#slot("origin").textContent = describeOrigin(this.origins);
      this.element.removeAttribute("aria-busy");
      this.hooks.onGrowth();
    }
  }

  /** Updates the countdown. Only one question runs at a time. */
  tick(now, isAsking) {
    if (this.again.hidden) return;
    this.again.textContent = describeWait(this.againAt, now);
    this.again.disabled = isAsking || now < this.againAt;
  }

  /** Returns true for the last event. */
  #take(event) {
    switch (event.type) {
      case "provider":
        this.origins.push(event);
        break;
      case "content_delta":
        this.text += event.text;
        this.#draw();
        break;
      case "error":
        this.#fail(event.message);
        return true;
      case "done":
        if (event.stop_reason === "max_tokens") this.#fail(TOO_LONG, { isError: false });
        return true;
    }
    this.hooks.onGrowth();
    return false;
  }

  /** Replaces changed blocks only, so that selection and focus in the others are kept. */
  #draw() {
    const blocks = parse(this.text);
    const answer = this.#slot("answer");
    while (answer.children.length > blocks.length) answer.lastElementChild.remove();
    this.drawn.length = answer.children.length;
    for (const [index, block] of blocks.entries()) {
      const key = JSON.stringify(block);
      if (this.drawn[index] === key) continue;
      this.drawn[index] = key;
      const element = draw(block, (lines, isWhole) => codeElement(lines, isWhole, this.hooks.put));
      if (answer.children[index]) answer.children[index].replaceWith(element);
      else answer.append(element);
    }
  }

  #refused({ message, retryAfterSecs }) {
    if (!retryAfterSecs) return this.#fail(message);
    this.againAt = Date.now() + retryAfterSecs * 1000;
    this.#fail(`${message} ${describeMoment(this.againAt)}`, { isError: false });
  }

  #fail(text, { isError = true } = {}) {
    const failure = this.#slot("failure");
    failure.textContent = text;
    failure.className = isError ? "error" : "wait";
    this.again.hidden = false;
    this.tick(Date.now(), true);
    this.hooks.onGrowth();
  }

  #reset() {
    this.text = "";
    this.origins = [];
    this.drawn = [];
    this.againAt = 0;
    this.again.hidden = true;
    for (const name of ["answer", "failure", "origin"]) this.#slot(name).textContent = "";
  }

  #slot(name) {
    return this.element.querySelector(`[data-slot=${name}]`);
  }
}
