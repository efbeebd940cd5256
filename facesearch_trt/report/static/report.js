"use strict";
const box = document.getElementById("filter");
const none = document.getElementById("none");
box.parentElement.hidden = false;
box.addEventListener("input", () => {
  const wanted = box.value.trim().toLowerCase();
  let left = 0;
  for (const one of document.querySelectorAll("[data-name]")) {
    one.hidden = !one.dataset.name.includes(wanted);
    left += one.hidden ? 0 : 1;
  }
  none.hidden = left > 0;
});
