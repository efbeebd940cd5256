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
document.getElementById("wall").addEventListener("keydown", (event) => {
  const all = [...document.querySelectorAll("#wall .tile:not([hidden]) > a")];
  const at = all.indexOf(document.activeElement);
  if (at < 0) return;
  const top = all[0].getBoundingClientRect().top;
  const columns = Math.max(1, all.findIndex((tile) => tile.getBoundingClientRect().top > top + 4));
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
  if (step && all[at + step]) {
    event.preventDefault();
    all[at + step].focus();
  }
});
