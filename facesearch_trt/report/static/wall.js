// The bar says how many are chosen.
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
