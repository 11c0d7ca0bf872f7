(function () {
  "use strict";
  var section = document.getElementById("light-table");
  if (!section) { return; }
  function find(id) { return document.getElementById(id); }
  var choice = find("choice"), mode = find("mode"), mix = find("mix"), outline = find("outline");
  var stage = find("stage"), sheet = find("sheet"), curtain = find("curtain");
  var under = find("under"), over = find("over"), lines = find("lines"), said = find("said");

  function place(image, number, matrix) {
    var source = find("picture-" + number);
    image.src = source.src;
    image.style.width = source.dataset.width + "px";
    image.style.height = source.dataset.height + "px";
    image.style.transform = "matrix3d(" + matrix + ")";
  }

  function fit() {
    var option = choice.selectedOptions[0];
    // All of a picture in portrait is seen at once.
    stage.style.width = "min(100%, " +
      Math.max(0.78 * window.innerHeight * option.dataset.width / option.dataset.height, 200) + "px)";
    var scale = stage.clientWidth / Number(option.dataset.width);
    stage.style.height = Number(option.dataset.height) * scale + "px";
    sheet.style.transform = "scale(" + scale + ")";
  }

  function choose() {
    var option = choice.selectedOptions[0], data = option.dataset;
    sheet.style.width = data.width + "px";
    sheet.style.height = data.height + "px";
    place(under, section.dataset.first, data.under);
    place(over, option.value, data.over);
    lines.setAttribute("viewBox", "0 0 " + data.width + " " + data.height);
    Array.prototype.forEach.call(lines.children, function (polygon) {
      polygon.setAttribute("points", data.outline || "");
    });
    outline.disabled = !data.outline;
    said.textContent = data.said;
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
    lines.style.display = outline.checked ? "" : "none";
    stage.setAttribute("aria-label", mode.selectedOptions[0].textContent + ": " + part +
      " % of printing " + choice.value + " over printing " + section.dataset.first);
  }

  choice.addEventListener("change", choose);
  mode.addEventListener("change", start);
  outline.addEventListener("change", show);
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
