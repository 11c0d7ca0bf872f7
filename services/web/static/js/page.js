// What every page does with a script: dropping, pasting, keys, folding, and loading itself again.
// Everything here has a way without a script: forms, links and the reload button.
import { watchDrops } from "./drop.js";
import { watchKeys } from "./keys.js";
import "./crop.js";
import "./compare.js";

document.documentElement.classList.add("scripted");
watchDrops();
watchKeys();

addEventListener("beforeprint", () => {
  for (const image of document.querySelectorAll("img[loading=lazy]")) image.loading = "eager";
});

for (const details of document.querySelectorAll("[data-folds-when-narrow]")) {
  // Who is led to what is inside finds it open.
  const target = document.getElementById(location.hash.slice(1));
  if (matchMedia("(max-width: 60rem)").matches && !details.contains(target)) details.open = false;
}

for (const form of document.querySelectorAll("[data-filters]")) {
  form.addEventListener("change", (event) => {
    if (event.target.type !== "checkbox") return;
    keep("chosen", [event.target.name, event.target.value, scrollY]);
    form.requestSubmit();
  });
  // Whoever chooses by the keyboard goes on from the same box.
  const [name, value, place] = take("chosen") ?? [];
  const box = [...form.querySelectorAll("input[type=checkbox]")].find((each) => each.name === name && each.value === value);
  if (box) {
    box.closest("details:not(.filter-box)")?.setAttribute("open", "");
    box.focus({ preventScroll: true });
    scrollTo({ top: place, behavior: "instant" });
  }
  // Empty fields would only make the address longer.
  form.addEventListener("formdata", (event) => {
    for (const [name, value] of [...event.formData]) {
      if (value === "") event.formData.delete(name);
    }
  });
}

const refreshed = document.querySelector("[data-refresh]");
if (refreshed) {
  const reload = async () => {
    // A form that somebody writes in must not be taken away.
    if (!document.hidden && !refreshed.contains(document.activeElement)) {
      const answer = await fetch(location.href).catch(() => null);
      if (!answer && !refreshed.querySelector("[data-silent]")) sayThatNobodyAnswers(refreshed);
      if (answer?.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const fresh = page.querySelector("#main > div");
        refreshed.replaceChildren(...fresh.childNodes);
        if (!fresh.dataset.refresh) return;
      }
    }
    setTimeout(reload, Number(refreshed.dataset.refresh));
  };
  setTimeout(reload, Number(refreshed.dataset.refresh));
}

// What stands on the page is not what is the case any more; the next answer takes its place.
function sayThatNobodyAnswers(place) {
  const notice = document.createElement("div");
  notice.className = "notice problem";
  notice.dataset.silent = "";
  notice.setAttribute("role", "alert");
  const words = document.createElement("p");
  words.textContent = document.body.dataset.noAnswer;
  notice.append(words);
  place.prepend(notice);
}

// Where storage is switched off, the next page begins at its top.
function keep(name, value) {
  try { sessionStorage.setItem(name, JSON.stringify(value)); } catch { /* see above */ }
}

function take(name) {
  try {
    const value = JSON.parse(sessionStorage.getItem(name));
    sessionStorage.removeItem(name);
    return value;
  } catch { return null; }
}
