// Keys: one meaning each, listed by `?`, and none while somebody types or has switched them off.
const typing = "input:not([type=checkbox]):not([type=range]), textarea, select, [contenteditable]";

export function watchKeys() {
  const dialog = document.getElementById("keys");
  const setting = dialog.querySelector("[data-setting=keys]");
  setting.checked = read() !== "off";
  setting.addEventListener("change", () => write(setting.checked ? "on" : "off"));
  dialog.querySelector("[data-closes]").addEventListener("click", () => dialog.close());
  for (const button of document.querySelectorAll("[data-opens=keys]")) {
    button.hidden = false;
    button.addEventListener("click", () => dialog.showModal());
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest?.(typing) || dialog.open) return;
    if (event.key === "?") {
      event.preventDefault();
      dialog.showModal();
      return;
    }
    if (setting.checked && press(event.key)) event.preventDefault();
  });
}

function press(key) {
  const own = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (own) {
    own.click();
    return true;
  }
  if (key === "/") {
    location.assign("/");
    return true;
  }
  if (/^[1-5]$/.test(key)) {
    const view = document.querySelectorAll("[data-view-name]")[Number(key) - 1];
    view?.click();
    return Boolean(view);
  }
  const items = [...document.querySelectorAll("[data-item]")].filter((item) => item.checkVisibility?.() ?? true);
  const place = items.findIndex((item) => item.contains(document.activeElement));
  if (key === "j" || key === "k") {
    const next = items[place + (key === "j" ? 1 : -1)] ?? (place < 0 ? items[0] : null);
    next?.querySelector("a")?.focus();
    return Boolean(next);
  }
  if (key === "c" && place >= 0) {
    const link = items[place].querySelector("[data-compare]");
    link?.click();
    return Boolean(link);
  }
  return false;
}

// Where storage is switched off, the keys are simply on.
function read() {
  try { return localStorage.getItem("keys"); } catch { return null; }
}

function write(value) {
  try { localStorage.setItem("keys", value); } catch { /* see above */ }
}
