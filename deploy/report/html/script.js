"use strict";
// Lets the reader choose the check whose charts are shown, and opens every table for printing.
for (const charts of document.querySelectorAll("section.charts")) {
  const choice = charts.querySelector(".choice");
  if (!choice) continue;
  const panel = charts.querySelector(".panel");
  const select = choice.querySelector("select");
  const heading = charts.querySelector(".subject");
  const bundle = heading.dataset.bundle;
  const first = new DocumentFragment();
  const shown = panel.dataset.check;
  select.addEventListener("change", () => {
    if (panel.dataset.check === shown) first.append(...panel.childNodes);
    const template = document.getElementById(select.value);
    panel.replaceChildren(template ? template.content.cloneNode(true) : first);
    panel.dataset.check = select.value;
    const option = select.selectedOptions[0];
    heading.textContent = `${bundle} on ${option.dataset.board}`;
  });
  choice.hidden = false;
}
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
