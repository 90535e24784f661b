"use strict";
// Sorting, theme, zoom, slider, copy, reading position. Without it everything but these reads well.
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const say = (text) => { one("#live").textContent = text; };
  const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
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
  for (const box of all(".tw")) {
    const table = one("table", box);
    new ResizeObserver(() => {
      const wide = table.scrollWidth > box.clientWidth + 2;
      box.classList.toggle("wide", wide);
      if (box.nextElementSibling?.matches(".hint")) box.nextElementSibling.classList.toggle("on", wide);
    }).observe(box);
  }

  // Pictures: one zoom state for the overview and all crops.
  const quali = one("#quali");
  if (quali) {
    const over = one(".over", quali);
    const zoom = one("#zoom");
    const state = Object.fromEntries(["x", "y", "z"].map((k) => [k, Number(quali.style.getPropertyValue(`--${k}`))]));
    const draw = () => {
      state.z = clamp(state.z, Number(zoom.min), Number(zoom.max));
      const half = 0.5 / state.z;
      state.x = clamp(state.x, half, 1 - half);
      state.y = clamp(state.y, half, 1 - half);
      for (const key in state) quali.style.setProperty(`--${key}`, state[key]);
      zoom.value = state.z;
      one("#zoomed").textContent = `${state.z}×`;
    };
    const moveTo = (event) => {
      const box = over.getBoundingClientRect();
      state.x = (event.clientX - box.left) / box.width;
      state.y = (event.clientY - box.top) / box.height;
      draw();
    };
    zoom.oninput = () => { state.z = Number(zoom.value); draw(); };
    over.onpointerdown = moveTo;
    over.onpointermove = (event) => { if (event.buttons) moveTo(event); };
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    over.onkeydown = (event) => {
      const step = 0.16 / state.z;
      if (event.key in arrows) {
        state.x += step * arrows[event.key][0];
        state.y += step * arrows[event.key][1];
      } else if (event.key === "+" || event.key === "=") state.z += 1;
      else if (event.key === "-") state.z -= 1;
      else return;
      event.preventDefault();
      draw();
    };
    let start = null;
    for (const crop of all(".crop", quali)) {
      crop.onpointerdown = (event) => {
        start = { left: event.clientX, top: event.clientY, x: state.x, y: state.y };
        crop.setPointerCapture(event.pointerId);
      };
      crop.onpointermove = (event) => {
        if (!event.buttons || !start) return;
        state.x = start.x - (event.clientX - start.left) / crop.clientWidth / state.z;
        state.y = start.y - (event.clientY - start.top) / crop.clientHeight / state.z;
        draw();
      };
    }
    draw();
  }

  // Slider: two results, one over the other; pictures are those of the crops.
  const slider = one("#slider");
  if (slider) {
    const position = one("#position");
    const put = (value) => {
      position.value = clamp(value, 0, 100);
      slider.style.setProperty("--p", `${position.value}%`);
    };
    const drag = (event) => {
      const box = slider.getBoundingClientRect();
      put((event.clientX - box.left) / box.width * 100);
    };
    position.oninput = () => put(Number(position.value));
    slider.onpointerdown = (event) => { slider.setPointerCapture(event.pointerId); drag(event); };
    slider.onpointermove = (event) => { if (event.buttons) drag(event); };
    for (const side of ["left", "right"]) {
      const choice = one(`#choose-${side}`);
      choice.onchange = () => {
        const source = one(`#picture-${choice.value}`);
        const shown = one(`#shown-${side}`);
        shown.src = source.src;
        shown.alt = source.alt;
        one(`#name-${side}`).textContent = choice.selectedOptions[0].textContent;
      };
      choice.onchange();
    }
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
