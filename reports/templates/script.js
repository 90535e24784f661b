"use strict";
// Sorting, filtering, theme, copy, reading position. Without it everything but these reads well.
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const say = (text) => { one("#live").textContent = text; };
  document.documentElement.classList.add("js");

  // Theme: auto, light, dark; never stored.
  const theme = one("#theme");
  const modes = ["auto", "light", "dark"];
  theme.onclick = () => {
    const mode = modes[(modes.indexOf(theme.dataset.mode) + 1) % modes.length];
    theme.dataset.mode = mode;
    theme.textContent = `Theme: ${mode}`;
    if (mode === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = mode;
  };

  // Tables: a press on a heading sorts down, then up, then back; absent values stay last.
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    if (column === 0) return cell.textContent.trim();
    return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
  };
  const compare = (a, b, direction) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return (a < b ? -1 : a > b ? 1 : 0) * direction;
  };
  const next = { none: "descending", descending: "ascending", ascending: "none" };
  for (const table of all("table.sortable")) {
    const groups = all("tbody", table).map((body) => ({ body, rows: all("tr:not(.title)", body) }));
    for (const head of all("thead th[data-col]", table)) {
      const button = document.createElement("button");
      button.className = "sort";
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.onclick = () => {
        const order = next[head.getAttribute("aria-sort") ?? "none"];
        const column = Number(head.dataset.col);
        const direction = order === "ascending" ? 1 : -1;
        all("th[aria-sort]", table).forEach((th) => th.removeAttribute("aria-sort"));
        if (order !== "none") head.setAttribute("aria-sort", order);
        for (const { body, rows } of groups) {
          const sorted = order === "none" ? rows : [...rows].sort(
            (a, b) => compare(keyOf(a, column), keyOf(b, column), direction));
          body.append(...sorted);
        }
        say(order === "none" ? "Original order" : `Sorted by ${head.dataset.name}, ${order}`);
      };
    }
  }
  // Long tables: what is typed hides the rows without it.
  for (const table of all("table.sortable")) {
    const rows = all("tbody tr:not(.title)", table);
    if (rows.length < 20) continue;
    const label = document.createElement("label");
    const field = Object.assign(document.createElement("input"), { type: "search" });
    label.className = "filter";
    label.append("Filter rows ", field);
    (table.closest(".tw") ?? table).before(label);
    field.oninput = () => {
      const wanted = field.value.trim().toLowerCase();
      for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
      for (const body of all("tbody", table)) body.hidden = !one("tr:not(.title):not([hidden])", body);
      say(`${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`);
    };
  }
  for (const table of all(".tw > table")) {
    const box = table.parentNode;
    new ResizeObserver(() => {
      const wide = table.scrollWidth > box.clientWidth + 2;
      box.classList.toggle("wide", wide);
      if (box.nextElementSibling?.matches(".hint")) box.nextElementSibling.classList.toggle("on", wide);
    }).observe(box);
  }

  for (const button of all(".cmd .btn")) {
    button.onclick = async () => {
      const code = one("code", button.parentNode);
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    };
  }

  // Reading position in the rail.
  const links = Object.fromEntries(all("nav.rail a").map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((e) => e.isIntersecting)) {
      Object.values(links).forEach((link) => link.removeAttribute("aria-current"));
      const link = links[entry.target.id];
      link.setAttribute("aria-current", "true");
      link.closest("nav").scrollLeft = link.offsetLeft - 24;
    }
  }, { rootMargin: "-10% 0px -80% 0px" });
  all("section[id]").forEach((section) => seen.observe(section));
  addEventListener("beforeprint", () => all("details").forEach((details) => { details.open = true; }));
})();
