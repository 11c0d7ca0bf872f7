(function () {
  "use strict";
  var section = document.getElementById("light-table");
  if (!section) { return; }
  function find(id) { return document.getElementById(id); }
  var choice = find("choice"), mode = find("mode"), mix = find("mix");
  var outline = find("outline"), differing = find("differing"), places = find("places");
  var shared = find("shared"), marked = find("marked");
  var stage = find("stage"), sheet = find("sheet"), curtain = find("curtain");
  var under = find("under"), over = find("over"), lines = find("lines"), said = find("said");

  function place(image, number, matrix) {
    var source = find("picture-" + number);
    image.src = source.src;
    image.style.width = source.dataset.width + "px";
    image.style.height = source.dataset.height + "px";
    image.style.transform = "matrix3d(" + matrix + ")";
  }

  // Corners of parts, from the attributes of an option.
  function list(corners) { return corners ? corners.split(";") : []; }

  function add(group, kind, attributes) {
    var element = document.createElementNS("http://www.w3.org/2000/svg", kind);
    Object.keys(attributes).forEach(function (name) { element.setAttribute(name, attributes[name]); });
    return group.appendChild(element);
  }

  // Light below dark, so that lines are seen upon any picture.
  function draw(group, parts) {
    group.textContent = "";
    ["halo", "line"].forEach(function (layer) {
      parts.forEach(function (points) { add(group, "polygon", {"class": layer, points: points}); });
    });
  }

  function number(group, parts) {
    parts.forEach(function (points, at) {
      if (!points) { return; }
      var corners = points.split(" ").map(function (corner) { return corner.split(",").map(Number); });
      add(group, "text", {
        x: Math.max(0, Math.min.apply(null, corners.map(function (corner) { return corner[0]; }))),
        y: Math.max(0, Math.min.apply(null, corners.map(function (corner) { return corner[1]; }))),
        dx: ".4em", dy: "1.1em"
      }).textContent = at + 1;
    });
  }

  function fit() {
    var option = choice.selectedOptions[0];
    // All of a picture in portrait is seen at once.
    stage.style.width = "min(100%, " +
      Math.max(0.78 * window.innerHeight * option.dataset.width / option.dataset.height, 200) + "px)";
    var scale = stage.clientWidth / Number(option.dataset.width);
    stage.style.height = Number(option.dataset.height) * scale + "px";
    sheet.style.transform = "scale(" + scale + ")";
    lines.style.fontSize = 16 / scale + "px";
  }

  function choose() {
    var option = choice.selectedOptions[0], data = option.dataset;
    sheet.style.width = data.width + "px";
    sheet.style.height = data.height + "px";
    place(under, section.dataset.first, data.under);
    place(over, option.value, data.over);
    lines.setAttribute("viewBox", "0 0 " + data.width + " " + data.height);
    draw(shared, list(data.outline));
    draw(marked, list(data.differing));
    number(marked, list(data.differing));
    outline.disabled = !data.outline;
    differing.disabled = !data.differing;
    said.textContent = data.said;
    var card = find("differences-" + option.value);
    places.hidden = !card;
    places.textContent = "";
    Array.prototype.forEach.call(card ? card.children : [], function (line) {
      places.appendChild(line.cloneNode(true));
    });
    fit();
    start();
  }

  function start() {
    var first = {slide: choice.selectedOptions[0].dataset.start, fade: 50, difference: 100};
    mix.value = first[mode.value];
    show();
  }

  function show() {
    var part = Number(mix.value);
    var slides = mode.value === "slide";
    stage.classList.toggle("difference", mode.value === "difference");
    curtain.style.opacity = slides ? 1 : part / 100;
    curtain.style.clipPath = slides ? "inset(-100vmax -100vmax -100vmax " + (100 - part) + "%)" : "none";
    shared.style.display = outline.checked ? "" : "none";
    marked.style.display = differing.checked ? "" : "none";
    var count = differing.checked ? list(choice.selectedOptions[0].dataset.differing).length : 0;
    stage.setAttribute("aria-label", mode.selectedOptions[0].textContent + ": " + part +
      " % of printing " + choice.value + " over printing " + section.dataset.first +
      (count ? "; what differs is marked: " + count + (count > 1 ? " places" : " place") : ""));
  }

  choice.addEventListener("change", choose);
  mode.addEventListener("change", start);
  outline.addEventListener("change", show);
  differing.addEventListener("change", show);
  mix.addEventListener("input", show);
  window.addEventListener("resize", fit);
  Array.prototype.forEach.call(document.querySelectorAll("button[data-over]"), function (button) {
    button.hidden = false;
    button.addEventListener("click", function () {
      choice.value = button.dataset.over;
      choose();
      section.scrollIntoView();
      mix.focus({preventScroll: true});
    });
  });
  section.hidden = false;
  choose();
}());
