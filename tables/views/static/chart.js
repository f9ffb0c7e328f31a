// Lets the values of a chart be read one by one, with the arrow keys or the pointer. They are taken from the
// table beneath the chart; without this, the table and the titles of the bars say the same.

const walk = document.getElementById("walk");

if (walk) {
  const slider = walk.querySelector("input");
  const words = walk.querySelector("p");
  const rows = () => [...document.getElementById("figures").rows]; // the newest first

  const show = () => {
    const shown = rows();
    const place = Number(slider.value);
    const row = shown[shown.length - 1 - place];
    if (!row) return;
    const heads = [...document.getElementById("figure-heads").rows[0].cells];
    const values = [...row.cells].slice(1).map((cell, at) => `${heads[at + 1].textContent} ${cell.textContent}`);
    const text = `${row.cells[0].textContent} UTC: ${values.join(", ")}`;
    if (words.textContent !== text) words.textContent = text;
    // What a screen reader says when the value moves; a live region would say it at each refresh.
    slider.setAttribute("aria-valuetext", text);
    for (const mark of document.querySelectorAll(".chosen")) mark.setAttribute("x", place);
  };

  const follow = () => {
    const last = String(rows().length - 1);
    const wasLast = slider.value === slider.max;
    if (slider.max !== last) slider.max = last;
    if (wasLast) slider.value = last;
    show();
  };

  slider.addEventListener("input", show);
  document.getElementById("charts").addEventListener("pointermove", (moved) => {
    if (!moved.target.matches(".slot")) return;
    slider.value = moved.target.getAttribute("x");
    show();
  });
  document.addEventListener("tocsin:refreshed", follow);
  walk.hidden = false;
  follow();
}
