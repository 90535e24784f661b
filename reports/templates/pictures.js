"use strict";
// Zoom, slider, explorer. Without it the crops read well, and the other two are hidden.
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
  const dragged = (element, onto) => {
    element.ondragstart = (event) => event.preventDefault(); // browsers would drag the picture off
    element.onpointerdown = (event) => { element.setPointerCapture(event.pointerId); onto(event); };
    element.onpointermove = (event) => { if (event.buttons) onto(event); };
  };

  // A row: one zoom state for its overview and all its crops.
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  for (const row of all(".quali")) {
    const over = one(".over", row);
    const zoom = one(".zoom", row);
    const state = Object.fromEntries(
      ["x", "y", "z"].map((key) => [key, Number(row.style.getPropertyValue(`--${key}`))]));
    const draw = () => {
      state.z = clamp(state.z, Number(zoom.min), Number(zoom.max));
      const half = 0.5 / state.z;
      state.x = clamp(state.x, half, 1 - half);
      state.y = clamp(state.y, half, 1 - half);
      for (const key in state) row.style.setProperty(`--${key}`, state[key]);
      zoom.value = state.z;
      one(".zoomed", row).textContent = `${state.z}×`;
    };
    zoom.oninput = () => { state.z = Number(zoom.value); draw(); };
    dragged(over, (event) => {
      const box = over.getBoundingClientRect();
      state.x = (event.clientX - box.left) / box.width;
      state.y = (event.clientY - box.top) / box.height;
      draw();
    });
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
    let last = null;
    for (const crop of all(".crop", row)) {
      dragged(crop, (event) => {
        if (event.type === "pointermove") {
          state.x -= (event.clientX - last.clientX) / crop.clientWidth / state.z;
          state.y -= (event.clientY - last.clientY) / crop.clientHeight / state.z;
          draw();
        }
        last = event;
      });
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
    position.oninput = () => put(Number(position.value));
    dragged(slider, (event) => {
      const box = slider.getBoundingClientRect();
      put((event.clientX - box.left) / box.width * 100);
    });
    const picture = one("#choose-picture");
    const crop = (method) => document.getElementById(`picture-${picture.value}-${method}`);
    const choices = ["left", "right"].map((side) => one(`#choose-${side}`));
    const show = () => {
      slider.style.setProperty("--aspect", picture.selectedOptions[0].dataset.aspect);
      for (const choice of choices) {
        const side = choice.id.replace("choose-", "");
        for (const option of choice.options) option.disabled = !crop(option.value);
        if (choice.selectedOptions[0].disabled) {
          choice.value = [...choice.options].find((option) => !option.disabled).value;
        }
        const [source, shown] = [crop(choice.value), one(`#shown-${side}`)];
        shown.src = source.src;
        shown.alt = source.alt;
        one(`#name-${side}`).textContent = choice.selectedOptions[0].textContent;
      }
    };
    for (const choice of [picture, ...choices]) choice.onchange = show;
    show();
  }

  // Explorer: the pictures of a set by the difference of two methods.
  const explorer = one("#explorer");
  if (explorer) explore();

  function explore() {
    const sets = JSON.parse(one("#explore-data").textContent);
    const [set, first, second, order, rank] = ["set", "first", "second", "order", "rank"].map(
      (name) => one(`#explore-${name}`));
    const bars = one("#explore-bars");
    const chosen = () => sets.find((each) => each.key === set.value);
    const method = (choice) => chosen().methods.find((each) => each.name === choice.value);
    const signed = (value, digits = 2) => {
      const text = Math.abs(value).toFixed(digits);
      return (Number(text) === 0 ? "" : value < 0 ? "−" : "+") + text;
    };
    let sorted = [];

    const enter = () => {
      for (const [index, choice] of [first, second].entries()) {
        choice.replaceChildren(...chosen().methods.map(({ name, label }) => new Option(label, name)));
        choice.value = chosen().pair[index];
      }
      compare();
    };

    const compare = () => {
      const [a, b] = [first.value, second.value];
      sorted = chosen().pictures
        .filter(({ psnr }) => a in psnr && b in psnr)
        .map((picture) => ({ ...picture, difference: picture.psnr[b] - picture.psnr[a] }));
      const size = order.value === "size" ? Math.abs : (value) => value;
      sorted.sort((one, other) => size(other.difference) - size(one.difference));
      const ahead = sorted.filter(({ difference }) => difference > 0).length;
      const mean = sorted.reduce((sum, { difference }) => sum + difference, 0) / sorted.length;
      one("#explore-found").textContent = sorted.length
        ? `${method(second).label} is ahead of ${method(first).label} on ${ahead} of ${sorted.length} `
          + `pictures of ${chosen().title}; its mean difference is ${signed(mean)} dB.`
        : "No picture of this set has a PSNR of both.";
      rank.max = Math.max(1, sorted.length);
      rank.value = 1;
      drawBars();
      pick();
    };

    const element = (name, attributes, text = "") => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const key in attributes) made.setAttribute(key, attributes[key]);
      made.textContent = text;
      return made;
    };
    const drawBars = () => {
      const values = sorted.map(({ difference }) => difference);
      const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
      const span = high - low || 1;
      const at = (value) => 10 + (high - value) / span * 150;
      const rough = span / 4;
      const power = 10 ** Math.floor(Math.log10(rough));
      const step = power * [1, 2, 5, 10].find((times) => times * power >= rough);
      const parts = [];
      for (let tick = Math.ceil(low / step) * step; tick <= high + step / 1e6; tick += step) {
        const value = Math.abs(tick) < step / 1e6 ? 0 : tick;
        const digits = Math.max(0, -Math.floor(Math.log10(step)));
        parts.push(
          element("line", { x1: "8%", x2: "100%", y1: at(value), y2: at(value), class: value ? "" : "zero" }),
          element("text", { x: "7%", y: at(value) + 4, "text-anchor": "end" }, signed(value, digits)));
      }
      const width = 92 / Math.max(sorted.length, 6); // per cent
      rank.style.width = `${width * sorted.length}%`;
      sorted.forEach(({ difference, crops }, index) => {
        const leader = method(difference > 0 ? second : first);
        const bar = element("rect", {
          x: `${8 + (index + 0.1) * width}%`, width: `${0.8 * width}%`,
          y: Math.min(at(difference), at(0)), height: Math.max(1, Math.abs(at(difference) - at(0))),
          class: `${leader.style}${crops.hr ? "" : " bare"}`,
        });
        // The whole column can be pressed, however short its bar.
        const column = element("rect", {
          x: `${8 + index * width}%`, width: `${width}%`, y: 0, height: 170, class: "column",
        });
        column.onclick = () => { rank.value = index + 1; pick(); };
        parts.push(bar, column);
      });
      bars.replaceChildren(...parts);
    };

    const pick = () => {
      const index = Number(rank.value) - 1;
      all("rect:not(.column)", bars).forEach((bar, i) => bar.classList.toggle("on", i === index));
      const picture = sorted[index];
      one("#explore-read").hidden = !picture;
      one("#explore-crops").hidden = !picture?.crops.hr;
      one("#explore-none").hidden = !picture || Boolean(picture.crops.hr);
      if (!picture) return;
      const text = `${index + 1} of ${sorted.length}: ${picture.name}, ${signed(picture.difference)} dB`;
      one("#explore-read").textContent = text;
      rank.setAttribute("aria-valuetext", text);
      const places = { hr: "hr", bicubic: "bicubic", first: first.value, second: second.value };
      for (const place in places) show(place, places[place], picture);
    };

    const show = (place, name, picture) => {
      const image = one(`#explored-${place}`);
      const item = image.closest("li");
      const known = chosen().methods.find((each) => each.name === name);
      const label = name === "hr" ? "HR" : known?.label ?? "Bicubic";
      const score = name in picture.psnr ? picture.psnr[name].toFixed(2) : "";
      item.hidden = !(name in picture.crops);
      if (item.hidden) return;
      item.className = known?.style ?? "control";
      image.src = picture.crops[name];
      image.alt = `${label}, crop of ${picture.name}${score && `, ${score} dB`}`;
      one("b", item).textContent = label;
      one(".score", item).textContent = name === "hr" ? "reference" : score;
    };

    set.onchange = enter;
    for (const choice of [first, second, order]) choice.onchange = compare;
    rank.oninput = pick;
    enter();
  }
})();
