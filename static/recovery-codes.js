/** Shows new recovery codes once: to copy, to print or to download. */

const dialog = document.getElementById("codes-dialog");
const list = dialog.querySelector("[data-slot=codes]");
const kept = dialog.querySelector("[data-slot=kept]");

/** Resolves when the user has closed the dialog. */
export function showCodes(codes) {
  const text = `${codes.join("\n")}\n`;
  const file = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  list.replaceChildren(...codes.map(line));
  kept.textContent = "";
  dialog.querySelector("[data-codes=download]").href = file;
  dialog.querySelector("[data-codes=print]").onclick = () => window.print();
  dialog.querySelector("[data-codes=copy]").onclick = () => copy(text);
  dialog.showModal();
  list.focus();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      URL.revokeObjectURL(file);
      list.replaceChildren();
      resolve();
    };
  });
}

function line(code) {
  const item = document.createElement("li");
  const text = document.createElement("code");
  text.textContent = code;
  item.append(text);
  return item;
}

/** The clipboard exists over https only; elsewhere the codes are selected for the user to copy. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    kept.textContent = "The codes were copied.";
  } catch {
    getSelection().selectAllChildren(list);
    kept.textContent = "The codes are selected: copy them with your keyboard.";
  }
}
