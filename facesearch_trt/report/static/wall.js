// Arrow keys move over the wall; the bar says how many are chosen.
const tiles = () => [...document.querySelectorAll("#wall .tile > a")];

document.querySelector("#wall")?.addEventListener("keydown", (event) => {
  const all = tiles();
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

const count = document.querySelector("#count");
if (count) {
  const tell = () => {
    const chosen = document.querySelectorAll(".pick input:checked").length;
    count.textContent = `${chosen} chosen`;
    const merge = document.querySelector("#chosen .primary");
    merge.disabled = chosen < 2;
  };
  document.addEventListener("change", tell);
  document.querySelector("#chosen").addEventListener("reset", () => setTimeout(tell));
  tell();
}
