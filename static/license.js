/** The page of the licence: a file is read into the text field, where it can be checked before it is sent. */

const MAX_BYTES = 64 * 1024;

for (const input of document.querySelectorAll("[data-reads-into]")) {
  input.addEventListener("change", async () => {
    const [file] = input.files;
    if (!file) return;
    const field = input.form.elements[input.dataset.readsInto];
    field.value = file.size > MAX_BYTES ? "" : (await file.text()).trim();
    field.setCustomValidity(field.value ? "" : "This file is not a licence: it is empty, or too large.");
    field.reportValidity();
  });
  // Text that is typed replaces what was wrong with the file.
  input.form.elements[input.dataset.readsInto].addEventListener("input", ({ target }) => target.setCustomValidity(""));
}
