// What every page does with a script: dropping, pasting, keys, folding, and loading itself again.
// Everything here has a way without a script: forms, links and the reload button.
import { watchDrops } from "./drop.js";
import { watchKeys } from "./keys.js";
import "./crop.js";
import "./compare.js";

document.documentElement.classList.add("scripted");
watchDrops();
watchKeys();

for (const details of document.querySelectorAll("[data-folds-when-narrow]")) {
  if (matchMedia("(max-width: 60rem)").matches) details.open = false;
}

for (const form of document.querySelectorAll("[data-filters]")) {
  form.addEventListener("change", (event) => {
    if (event.target.type === "checkbox") form.requestSubmit();
  });
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
