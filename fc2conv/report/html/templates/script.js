"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // A node and its counterpart light up together.
  const light = (event, on) => {
    const link = event.target.closest(".graph a");
    if (!link) return;
    const other = document.getElementById(link.getAttribute("href").slice(1));
    if (other) other.classList.toggle("lit", on);
  };
  for (const [begin, end] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
    document.addEventListener(begin, (event) => light(event, true));
    document.addEventListener(end, (event) => light(event, false));
  }

  // A link into something folded unfolds it.
  const unfold = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let each = target; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
    target.scrollIntoView({ block: "nearest" });
    const focus = target.tagName === "DETAILS" ? target.querySelector("summary") : target;
    if (focus.focus) focus.focus({ preventScroll: true });
  };
  addEventListener("hashchange", unfold);
  unfold();

  // Paper shows what is folded, but for the models of a batch.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details:not([open]):not(.model):not(.words)").filter((each) => !each.closest(".model:not([open])"));
    for (const each of opened) each.open = true;
  });
  addEventListener("afterprint", () => {
    for (const each of opened) each.open = false;
  });

  const table = document.querySelector("table.index");
  if (!table) return;
  document.querySelector(".controls").hidden = false;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const models = new Map(all("details.model").map((each) => [each.dataset.model, each]));
  const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const chips = all(".chip");
  const filter = document.getElementById("filter");

  const show = () => {
    const wanted = new Set(chips.filter((chip) => chip.ariaPressed === "true").map((chip) => chip.dataset.outcome));
    const text = filter.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const fits = wanted.has(row.dataset.outcome) && words.get(row).includes(text);
      row.hidden = !fits;
      models.get(row.dataset.model).hidden = !fits;
      shown += fits;
    }
    document.getElementById("shown").textContent = `${shown} of ${rows.length} models`;
    document.getElementById("none").hidden = shown > 0;
  };
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chip.ariaPressed = chip.ariaPressed === "true" ? "false" : "true";
      show();
    });
  }
  filter.addEventListener("input", show);
  show();

  const key = (row, column) => row.cells[column].dataset.key ?? row.cells[column].textContent.trim();
  const order = new Intl.Collator("en", { numeric: true }).compare;
  const compare = (one, other) => {
    const numbers = [Number(one), Number(other)];
    return one === "" || other === "" || numbers.some(Number.isNaN) ? order(one, other) : numbers[0] - numbers[1];
  };
  all("button.sort", table).forEach((button, column) => {
    button.addEventListener("click", () => {
      const heading = button.closest("th");
      const down = heading.ariaSort === "ascending";
      for (const each of all("th[aria-sort]", table)) each.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const sorted = [...rows].sort((a, b) => compare(key(a, column), key(b, column)) * (down ? -1 : 1));
      body.append(...sorted);
      for (const row of sorted) models.get(row.dataset.model).parentElement.append(models.get(row.dataset.model));
    });
  });
})();
