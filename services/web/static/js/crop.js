// A frame on the picture, moved by pointer or arrow keys, in step with the four number fields.
class Crop extends HTMLElement {
  connectedCallback() {
    this.size = [Number(this.dataset.width), Number(this.dataset.height)];
    this.stage = this.querySelector(".crop-stage");
    this.fields = ["x", "y", "w", "h"].map((name) => this.querySelector(`[name=${name}]`));
    if (!this.stage || this.size.some((side) => !side) || this.fields.includes(null)) return;
    this.stage.querySelector("svg")?.remove();
    this.veil = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.veil.setAttribute("viewBox", `0 0 ${this.size.join(" ")}`);
    this.veil.setAttribute("preserveAspectRatio", "none");
    this.veil.setAttribute("aria-hidden", "true");
    this.shade = document.createElementNS("http://www.w3.org/2000/svg", "path");
    this.shade.setAttribute("class", "veil");
    this.shade.setAttribute("fill-rule", "evenodd");
    this.veil.append(this.shade);
    this.frame = document.createElement("div");
    this.frame.className = "crop-frame";
    this.frame.tabIndex = 0;
    this.frame.setAttribute("role", "group");
    this.frame.setAttribute("aria-label", this.dataset.label);
    this.handle = document.createElement("div");
    this.handle.className = "crop-handle";
    this.frame.append(this.handle);
    this.stage.append(this.veil, this.frame);
    const region = this.dataset.region.split(",").map(Number);
    this.place(region.length === 4 ? region : [0, 0, ...this.size]);
    for (const field of this.fields) field.addEventListener("input", () => this.place(this.fields.map((each) => Number(each.value)), true));
    this.frame.addEventListener("keydown", (event) => this.press(event));
    this.stage.addEventListener("pointerdown", (event) => this.drag(event));
    this.stage.querySelector("img").draggable = false;
  }

  place([x, y, w, h], typed = false) {
    const [width, height] = this.size;
    const least = 16;
    w = Math.min(Math.max(w, Math.min(least, width)), width);
    h = Math.min(Math.max(h, Math.min(least, height)), height);
    x = Math.min(Math.max(x, 0), width - w);
    y = Math.min(Math.max(y, 0), height - h);
    this.region = [x, y, w, h].map(Math.round);
    if (!typed) this.fields.forEach((field, place) => { field.value = this.region[place]; });
    const [left, top, across, down] = this.region;
    const whole = across === width && down === height;
    Object.assign(this.frame.style, {
      left: `${(left / width) * 100}%`, top: `${(top / height) * 100}%`,
      width: `${(across / width) * 100}%`, height: `${(down / height) * 100}%`,
    });
    this.shade.setAttribute("d", whole ? "" : `M0 0H${width}V${height}H0Z M${left} ${top}h${across}v${down}h-${across}Z`);
  }

  press(event) {
    const step = Math.max(1, Math.round(Math.min(...this.size) / (event.ctrlKey ? 200 : 40)));
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const [x, y, w, h] = this.region;
    if (event.key === "Escape") this.place([0, 0, ...this.size]);
    else if (event.key === "Enter") this.querySelector("form").requestSubmit();
    else if (moves[event.key]) {
      const [right, down] = moves[event.key];
      this.place(event.shiftKey ? [x, y, w + right, h + down] : [x + right, y + down, w, h]);
    } else return;
    event.preventDefault();
  }

  drag(event) {
    if (event.button !== 0) return;
    const box = this.stage.getBoundingClientRect();
    const find = (at) => [
      ((at.clientX - box.left) / box.width) * this.size[0],
      ((at.clientY - box.top) / box.height) * this.size[1],
    ];
    const from = find(event);
    const before = [...this.region];
    const isWhole = before[2] === this.size[0] && before[3] === this.size[1];
    const moves = event.target === this.frame && !isWhole;
    const resizes = event.target === this.handle;
    this.stage.setPointerCapture(event.pointerId);
    const move = (at) => {
      const to = find(at);
      const [right, down] = [to[0] - from[0], to[1] - from[1]];
      if (Math.hypot(at.clientX - event.clientX, at.clientY - event.clientY) < 4) return;
      if (resizes) this.place([before[0], before[1], before[2] + right, before[3] + down]);
      else if (moves) this.place([before[0] + right, before[1] + down, before[2], before[3]]);
      else this.place([Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.abs(right), Math.abs(down)]);
    };
    const end = () => {
      this.stage.removeEventListener("pointermove", move);
      this.stage.removeEventListener("pointerup", end);
      this.stage.removeEventListener("pointercancel", end);
    };
    this.stage.addEventListener("pointermove", move);
    this.stage.addEventListener("pointerup", end);
    this.stage.addEventListener("pointercancel", end);
    event.preventDefault();
    this.frame.focus({ preventScroll: true });
  }
}

customElements.define("halftone-crop", Crop);
