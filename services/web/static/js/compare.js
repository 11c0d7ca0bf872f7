// Two pictures in one frame: side by side with linked zoom, overlay, swipe, blink, difference.
// The second is laid over the first by the homography that the server found.
const SVG = "http://www.w3.org/2000/svg";
const calm = matchMedia("(prefers-reduced-motion: reduce)");

class Compare extends HTMLElement {
  connectedCallback() {
    this.words = JSON.parse(this.dataset.words);
    this.sizes = [this.dataset.aSize, this.dataset.bSize].map((text) => text.split(",").map(Number));
    if (this.sizes.flat().some((side) => !side)) return;
    this.matrix = this.dataset.matrix ? this.dataset.matrix.split(",").map(Number) : null;
    this.frame = this.dataset.frame ? this.dataset.frame.split(",").map(Number) : [0, 0, ...this.sizes[0]];
    this.outlines = true;
    this.opacity = 0.5;
    this.seam = 0.5;
    this.second = true;
    this.build();
    for (const link of this.querySelectorAll("[data-view-name]")) {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        history.replaceState(null, "", link.href);
        this.show(link.dataset.viewName);
      });
    }
    const asked = new URLSearchParams(location.search);
    const share = Number(asked.get("share") ?? NaN);
    if (share >= 0 && share <= 1) this.opacity = this.seam = share;
    this.show(this.dataset.view);
    this.goTo((asked.get("at") ?? "").split(",").map(Number));
    new ResizeObserver(() => this.draw()).observe(this.stage);
  }

  // Shows a part of the first picture's frame: left, top, width and height in its pixels.
  goTo([x, y, w, h]) {
    if (![x, y, w, h].every(Number.isFinite) || w <= 0 || h <= 0) return;
    const [width, height] = this.room;
    this.scale = Math.min(Math.max(Math.min(width / w, height / h), 0.02), 40);
    this.centre = [x + w / 2, y + h / 2];
    this.isFitted = false;
    this.draw();
  }

  // What is in sight, and how, stays in the address, so that it can be shared and loaded again.
  keepPlace() {
    const address = new URL(location.href);
    const [width, height] = this.room.map((side) => side / this.scale);
    const place = [this.centre[0] - width / 2, this.centre[1] - height / 2, width, height].map(Math.round);
    const share = { overlay: this.opacity, swipe: this.seam }[this.view];
    if (this.isFitted) address.searchParams.delete("at");
    else address.searchParams.set("at", place.join(","));
    if (share === undefined || share === 0.5) address.searchParams.delete("share");
    else address.searchParams.set("share", share.toFixed(2));
    if (address.href !== location.href) history.replaceState(null, "", address);
  }

  disconnectedCallback() {
    clearInterval(this.timer);
  }

  build() {
    this.stage = make("div", "stage");
    this.stage.tabIndex = 0;
    this.stage.setAttribute("role", "group");
    this.stage.setAttribute("aria-label", this.words.stage);
    this.panes = ["a", "b"].map((side) => {
      const pane = make("div", side === "b" ? "pane over" : "pane");
      const image = make("img");
      image.src = this.dataset[side];
      image.alt = side === "a" ? this.words.first : this.words.second;
      image.draggable = false;
      const svg = document.createElementNS(SVG, "svg");
      svg.setAttribute("aria-hidden", "true");
      const polygons = [];
      for (const kind of ["shared", "differing"]) {
        for (const text of (this.dataset[side + kind[0].toUpperCase() + kind.slice(1)] ?? "").split(";").filter(Boolean)) {
          const points = text.split(" ").map((pair) => pair.split(",").map(Number));
          for (const name of ["halo", kind]) {
            const polygon = document.createElementNS(SVG, "polygon");
            polygon.setAttribute("class", name);
            svg.append(polygon);
            polygons.push({ polygon, points });
          }
        }
      }
      // A sharper picture of what is seen, once nothing moves.
      const detail = make("img", "detail");
      detail.alt = "";
      detail.draggable = false;
      detail.hidden = true;
      pane.append(image, detail, svg);
      this.stage.append(pane);
      return { pane, image, detail, svg, polygons, sharp: this.dataset[`${side}Sharp`] ?? "" };
    });
    this.line = make("div", "seam");
    this.stage.append(this.line);
    this.controls = make("div", "controls");
    this.details = ["a", "b"].map((side) => {
      const link = make("a", "button quiet");
      link.dataset.search = this.dataset[`${side}Search`];
      link.textContent = this.words[`${side}Detail`];
      link.hidden = true;
      return link;
    });
    const line = make("p", "actions");
    line.append(...this.details);
    const plain = this.querySelector(".plain-views");
    // Paper has no use for the stage; it gets the pictures as they are without a script.
    const printed = make("div", "printed");
    printed.append(...plain.childNodes);
    plain.append(this.stage, this.controls, line, printed);
    this.stage.addEventListener("pointerdown", (event) => this.drag(event));
    this.stage.addEventListener("keydown", (event) => this.press(event));
    this.stage.addEventListener("wheel", (event) => {
      // Without Ctrl the wheel scrolls the page, unless the pictures are in use.
      if (!event.ctrlKey && document.activeElement !== this.stage) return;
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), event);
    }, { passive: false });
  }

  show(view) {
    this.view = view;
    clearInterval(this.timer);
    this.timer = null;
    this.second = true;
    this.stage.className = `stage ${view}${view === "side" ? " two" : ""}`;
    for (const link of this.querySelectorAll("[data-view-name]")) {
      if (link.dataset.viewName === view) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    this.line.hidden = view !== "swipe";
    // One frame has one set of outlines, above both pictures.
    if (view === "side") this.panes[0].pane.append(this.panes[0].svg);
    else this.stage.insertBefore(this.panes[0].svg, this.line);
    this.listControls();
    this.fit();
    if (view === "blink" && !calm.matches) this.blink(true);
  }

  listControls() {
    const parts = [
      this.button(this.words.zoomOut, "−", () => this.zoom(1 / 1.4)),
      this.button(this.words.zoomIn, "+", () => this.zoom(1.4)),
      this.button(this.words.fit, this.words.fit, () => this.fit()),
    ];
    if (this.view === "overlay") {
      parts.push(this.range(this.words.opacity, this.opacity, (value) => { this.opacity = value; this.draw(); }));
    }
    if (this.view === "swipe") {
      parts.push(this.range(this.words.swipe, this.seam, (value) => { this.seam = value; this.draw(); }));
    }
    if (this.view === "blink") {
      const button = this.button("", "", () => {
        if (calm.matches) { this.second = !this.second; this.draw(); } else this.blink(!this.timer);
      });
      this.blinker = button;
      button.textContent = calm.matches ? `${this.words.first} / ${this.words.second}` : this.words.blinkOff;
      if (calm.matches) button.title = this.words.still;
      parts.push(button);
    }
    if (this.panes.some((each) => each.polygons.length)) {
      const label = make("label", "check");
      const box = make("input");
      box.type = "checkbox";
      box.checked = this.outlines;
      box.addEventListener("change", () => { this.outlines = box.checked; this.draw(); });
      label.append(box, this.words.outlines);
      parts.push(label);
    }
    this.controls.replaceChildren(...parts);
  }

  button(name, text, act) {
    const button = make("button");
    button.type = "button";
    button.textContent = text;
    if (name && name !== text) button.setAttribute("aria-label", name);
    button.addEventListener("click", act);
    return button;
  }

  range(name, value, act) {
    const label = make("label");
    const input = make("input");
    Object.assign(input, { type: "range", min: 0, max: 1, step: 0.01, value });
    input.addEventListener("input", () => act(Number(input.value)));
    label.append(name, input);
    return label;
  }

  blink(on) {
    clearInterval(this.timer);
    this.timer = on ? setInterval(() => { this.second = !this.second; this.draw(); }, 800) : null;
    this.second = true;
    if (this.blinker) this.blinker.textContent = on ? this.words.blinkOff : this.words.blinkOn;
    this.draw();
  }

  get room() {
    const box = this.stage.getBoundingClientRect();
    return [this.view === "side" ? (box.width - 2) / 2 : box.width, box.height];
  }

  fit() {
    const [x, y, w, h] = this.view === "side" && !this.matrix ? [0, 0, ...this.sizes[0]] : this.frame;
    // As high as the pictures need, so that the verdict stays in sight.
    this.stage.style.height = "";
    const wanted = (this.room[0] * h) / w + 24;
    this.stage.style.height = `${Math.max(200, Math.min(wanted, this.stage.clientHeight))}px`;
    const [width, height] = this.room;
    this.scale = Math.min(width / w, height / h) * 0.96;
    this.centre = [x + w / 2, y + h / 2];
    this.isFitted = true;
    this.draw();
  }

  zoom(factor, at) {
    const [width, height] = this.room;
    const box = this.stage.getBoundingClientRect();
    const point = at
      ? [(at.clientX - box.left) % (width + 2), at.clientY - box.top]
      : [width / 2, height / 2];
    const fixed = [0, 1].map((axis) => this.centre[axis] + (point[axis] - [width, height][axis] / 2) / this.scale);
    this.isFitted = false;
    this.scale = Math.min(Math.max(this.scale * factor, 0.02), 40);
    this.centre = [0, 1].map((axis) => fixed[axis] - (point[axis] - [width, height][axis] / 2) / this.scale);
    this.draw();
  }

  press(event) {
    const step = 60 / this.scale;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (moves[event.key]) {
      this.isFitted = false;
      this.centre = this.centre.map((value, axis) => value + moves[event.key][axis]);
      this.draw();
    } else if (event.key === "+" || event.key === "=") this.zoom(1.25);
    else if (event.key === "-") this.zoom(0.8);
    else return;
    event.preventDefault();
  }

  drag(event) {
    if (event.button !== 0) return;
    this.stage.focus({ preventScroll: true });
    this.stage.setPointerCapture(event.pointerId);
    this.pointers ??= new Map();
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    const move = (at) => {
      if (!this.pointers.has(at.pointerId)) return;
      const before = this.pointers.get(at.pointerId);
      const now = [at.clientX, at.clientY];
      if (this.pointers.size === 2) {
        const other = [...this.pointers].find(([id]) => id !== at.pointerId)[1];
        const spread = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
        if (spread(before) > 8) this.zoom(spread(now) / spread(before));
      } else if (this.view === "swipe" && event.shiftKey === false && this.isNearSeam(event)) {
        const box = this.stage.getBoundingClientRect();
        this.seam = Math.min(Math.max((at.clientX - box.left) / box.width, 0), 1);
        const input = this.controls.querySelector("input[type=range]");
        if (input) input.value = this.seam;
        this.draw();
      } else {
        this.isFitted = false;
        this.centre = this.centre.map((value, axis) => value - (now[axis] - before[axis]) / this.scale);
        this.draw();
      }
      this.pointers.set(at.pointerId, now);
    };
    const end = (at) => {
      if (at.pointerId !== event.pointerId) return;
      this.pointers.delete(at.pointerId);
      this.stage.removeEventListener("pointermove", move);
      this.stage.removeEventListener("pointerup", end);
      this.stage.removeEventListener("pointercancel", end);
    };
    this.startSeam = this.seam;
    this.stage.addEventListener("pointermove", move);
    this.stage.addEventListener("pointerup", end);
    this.stage.addEventListener("pointercancel", end);
    event.preventDefault();
  }

  // Returns the part of a picture that is in sight: left, top, width and height in its pixels.
  findPart(matrix, index) {
    const room = this.room;
    const [w, h] = this.sizes[index];
    const back = invert(matrix);
    const seen = [[0, 0], [room[0], 0], room, [0, room[1]]].map((point) => project(back, point));
    const xs = seen.map(([x]) => Math.min(Math.max(x, 0), w));
    const ys = seen.map(([, y]) => Math.min(Math.max(y, 0), h));
    const x = Math.floor(Math.min(...xs));
    const y = Math.floor(Math.min(...ys));
    return [x, y, Math.ceil(Math.max(...xs)) - x, Math.ceil(Math.max(...ys)) - y];
  }

  // Leads from what is in sight of each picture to a search by it.
  linkDetails(matrices) {
    this.details.forEach((link, index) => {
      const [w, h] = this.sizes[index];
      const [x, y, across, down] = this.findPart(matrices[index], index);
      link.href = `${link.dataset.search}&region=${x},${y},${across},${down}`;
      link.hidden = across < 16 || down < 16 || across * down > 0.98 * w * h;
    });
  }

  // Asks for the part of each original that is in sight, where the small picture is too coarse.
  sharpen(matrices) {
    const density = Math.min(devicePixelRatio || 1, 2);
    this.linkDetails(matrices);
    this.keepPlace();
    this.panes.forEach((each, index) => {
      const [w] = this.sizes[index];
      const [x, y, across, down] = this.findPart(matrices[index], index);
      const [left, right] = [[x, y + down / 2], [x + across, y + down / 2]].map((point) => project(matrices[index], point));
      const shown = Math.hypot(right[0] - left[0], right[1] - left[1]) * density;
      const coarse = each.image.naturalWidth / w < (shown / across) * 0.9 && each.image.naturalWidth < w;
      if (!each.sharp || !coarse || across < 8 || down < 8 || !each.image.naturalWidth) {
        each.detail.hidden = true;
        return;
      }
      const size = Math.min(Math.ceil(shown / 256) * 256, across, 2048);
      const source = `${each.sharp}&region=${x},${y},${across},${down}&width=${size}`;
      const settle = () => {
        each.detail.hidden = false;
        each.detail.style.width = `${across}px`;
        each.detail.style.height = `${down}px`;
        each.detail.style.transform = `matrix3d(${toCss(multiply(matrices[index], [1, 0, x, 0, 1, y, 0, 0, 1]))})`;
      };
      if (each.detail.dataset.source === source) { settle(); return; }
      const loader = new Image();
      loader.onload = () => {
        if (each.wanted !== source) return;
        each.detail.src = source;
        each.detail.dataset.source = source;
        settle();
      };
      each.wanted = source;
      loader.src = source;
    });
  }

  isNearSeam(event) {
    const box = this.stage.getBoundingClientRect();
    return Math.abs((event.clientX - box.left) / box.width - this.startSeam) * box.width < 40;
  }

  draw() {
    const [width, height] = this.room;
    if (!width || !height) return;
    const [cx, cy] = this.centre;
    const place = [this.scale, 0, width / 2 - cx * this.scale, 0, this.scale, height / 2 - cy * this.scale, 0, 0, 1];
    let second = place;
    if (this.matrix) second = multiply(place, this.matrix);
    else {
      // Without a part in common each picture is fitted on its own, with the same zoom and pan.
      const [a, b] = this.sizes;
      const ratio = Math.min(a[0] / b[0], a[1] / b[1]);
      second = multiply(place, [ratio, 0, (a[0] - b[0] * ratio) / 2, 0, ratio, (a[1] - b[1] * ratio) / 2, 0, 0, 1]);
    }
    this.panes.forEach((each, index) => {
      const matrix = index ? second : place;
      const [w, h] = this.sizes[index];
      each.image.style.width = `${w}px`;
      each.image.style.height = `${h}px`;
      each.image.style.transform = `matrix3d(${toCss(matrix)})`;
      each.detail.hidden = true;
      each.svg.style.display = this.outlines && (this.view === "side" || !index) ? "" : "none";
      for (const { polygon, points } of each.polygons) {
        polygon.setAttribute("points", points.map((point) => project(matrix, point).join(",")).join(" "));
      }
    });
    clearTimeout(this.sharpening);
    this.sharpening = setTimeout(() => this.sharpen([place, second]), 250);
    const over = this.panes[1].pane.style;
    over.opacity = this.view === "overlay" ? this.opacity : "";
    over.visibility = this.view === "blink" && !this.second ? "hidden" : "";
    over.clipPath = this.view === "swipe" ? `inset(0 0 0 ${this.seam * 100}%)` : "";
    this.line.style.left = `calc(${this.seam * 100}% - 1px)`;
  }
}

function make(tag, name = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  return element;
}

function multiply(a, b) {
  const product = [];
  for (let row = 0; row < 3; row += 1) {
    for (let column = 0; column < 3; column += 1) {
      product.push(a[3 * row] * b[column] + a[3 * row + 1] * b[3 + column] + a[3 * row + 2] * b[6 + column]);
    }
  }
  return product;
}

function project(m, [x, y]) {
  const depth = m[6] * x + m[7] * y + m[8];
  return [(m[0] * x + m[1] * y + m[2]) / depth, (m[3] * x + m[4] * y + m[5]) / depth];
}

function invert([a, b, c, d, e, f, g, h, i]) {
  const [A, B, C] = [e * i - f * h, f * g - d * i, d * h - e * g];
  const determinant = a * A + b * B + c * C;
  return [A, c * h - b * i, b * f - c * e, B, a * i - c * g, c * d - a * f, C, b * g - a * h, a * e - b * d]
    .map((value) => value / determinant);
}

// CSS takes columns, and a third axis that stays as it is.
function toCss(m) {
  return [m[0], m[3], 0, m[6], m[1], m[4], 0, m[7], 0, 0, 1, 0, m[2], m[5], 0, m[8]].join(",");
}

customElements.define("halftone-compare", Compare);
