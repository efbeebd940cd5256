// Drop, paste or choose photos, search without leaving the page, choose a face where there are several.
const form = document.querySelector("#search");
const input = document.querySelector("#photo");
const drop = document.querySelector("#drop");
const previews = document.querySelector("#previews");
const face = document.querySelector("#face");

function show() {
  for (const image of previews.querySelectorAll("img")) URL.revokeObjectURL(image.src);
  previews.replaceChildren(
    ...[...input.files].map((file) => {
      const image = document.createElement("img");
      image.src = URL.createObjectURL(file);
      image.alt = "Photo to search with";
      return image;
    }),
  );
}

async function search() {
  if (!input.files.length) return;
  const results = document.querySelector("#results");
  results.setAttribute("aria-busy", "true");
  document.querySelector("#go").disabled = true;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new FormData(form) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.querySelector("#results") ?? page.querySelector("main");
    results.replaceChildren(...document.importNode(found, true).childNodes);
    results.querySelector("[data-noscript]")?.remove();
  } catch {
    results.textContent = "The server does not answer.";
  } finally {
    results.removeAttribute("aria-busy");
    document.querySelector("#go").disabled = false;
  }
}

function take(files) {
  const pictures = [...files].filter((file) => file.type.startsWith("image/"));
  if (!pictures.length) return;
  const transfer = new DataTransfer();
  for (const file of pictures) transfer.items.add(file);
  input.files = transfer.files;
  face.value = "";
  show();
  search();
}

input.addEventListener("change", () => take(input.files));
form.addEventListener("submit", (event) => {
  event.preventDefault();
  face.value = event.submitter?.classList.contains("choose") ? event.submitter.value : "";
  search();
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  take(event.dataTransfer.files);
});
addEventListener("paste", (event) => take(event.clipboardData.files));
