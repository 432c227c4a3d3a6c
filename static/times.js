/** Shows the times of a page in the browser's time zone; without JavaScript they are in UTC, and say so. */

const SHOWN = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

export function localiseTimes(root = document) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    // An age stays: the time is what a screen reader adds to it.
    (element.querySelector("[data-time]") ?? element).textContent = SHOWN.format(at);
    element.title = EXACT.format(at);
  }
}
