// Arrow keys move over the wall of people: of the web pages and of the report.
document.querySelector("#wall")?.addEventListener("keydown", (event) => {
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
