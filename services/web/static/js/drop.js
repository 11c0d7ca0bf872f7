// Takes pictures that are dropped, pasted or chosen, anywhere on the page.
const token = () => document.querySelector("meta[name=form-token]").content;
// What a script says stands on the page, in the reader's language.
const say = (name) => document.body.dataset[name];

export function watchDrops() {
  let imports = document.querySelector("[data-import]");
  const form = document.querySelector("[data-drop]:not([data-import])");
  let depth = 0;
  addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth += 1;
    document.body.classList.add("dropping");
  });
  addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault();
  });
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (!depth) document.body.classList.remove("dropping");
  });
  addEventListener("drop", async (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    document.body.classList.remove("dropping");
    const dropped = await listDropped(event.dataTransfer);
    if (imports) {
      sendFiles(imports, dropped);
    } else if (dropped.length === 1 && !/[/]|[.]zip$/i.test(dropped[0].path)) {
      searchBy(dropped[0].file);
    } else {
      imports = await offerImport(dropped);
    }
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    if (imports) sendFiles(imports, [{ path: file.name || "pasted.png", file }]);
    else searchBy(file);
  });
  for (const input of form?.querySelectorAll("input[type=file]") ?? []) {
    input.addEventListener("change", (event) => {
      if (event.target.files[0]) searchBy(event.target.files[0]);
    });
  }
  if (imports) watchImport(imports);
}

function watchImport(form, ready = []) {
  const input = form.querySelector("#files");
  const folder = form.querySelector("[data-folder]");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sendFiles(form, ready.length ? ready : [...input.files].map((file) => ({ path: file.name, file })));
  });
  input.addEventListener("change", () => {
    ready = [];
    form.requestSubmit();
  });
  folder.addEventListener("change", () => {
    sendFiles(form, [...folder.files].map((file) => ({ path: file.webkitRelativePath || file.name, file })));
  });
}

// Nobody searches by a folder, a zip file or many files: these can only be meant for the archive.
async function offerImport(files) {
  if (!files.length) return null;
  const answer = await fetch("/import").catch(() => null);
  const page = new DOMParser().parseFromString((await answer?.text()) ?? "", "text/html");
  const form = page.querySelector("[data-import]");
  if (!form) {
    location.assign("/import"); // which says why not
    return null;
  }
  const main = document.getElementById("main");
  main.replaceChildren(...page.getElementById("main").childNodes);
  form.classList.add("ready");
  form.querySelector("#files").required = false;
  const status = form.querySelector("[data-status]");
  status.textContent = `${status.dataset.ready} ${files.length === 1 ? files[0].path : files.length}`;
  watchImport(form, files);
  form.querySelector("button[type=submit]").focus();
  return form;
}

function carriesFiles(event) {
  return [...(event.dataTransfer?.types ?? [])].includes("Files");
}

// The picture is shown at once; the search's own address follows as soon as it has been sent.
async function searchBy(file) {
  if (!file) return;
  const preview = showPreview(file);
  if (file.size > Number(say("mostBytes"))) {
    preview.fail(say("tooLarge"));
    return;
  }
  const body = new FormData();
  body.append("file", file, file.name || "picture");
  try {
    location.assign((await post("/pictures", body)).address);
  } catch (error) {
    preview.fail(error.message);
  }
}

function showPreview(file) {
  const main = document.getElementById("main");
  const section = document.createElement("section");
  section.className = "desk";
  const figure = document.createElement("figure");
  figure.className = "subject";
  const image = document.createElement("img");
  image.alt = "";
  image.src = URL.createObjectURL(file);
  image.addEventListener("error", () => image.remove());
  figure.append(image);
  const line = document.createElement("p");
  line.className = "searching";
  line.setAttribute("role", "status");
  const pulse = document.createElement("span");
  pulse.className = "pulse";
  line.append(pulse, say("searching"));
  section.append(figure, line);
  const before = [...main.childNodes];
  main.replaceChildren(section);
  return {
    fail(text) {
      const notice = document.createElement("div");
      notice.className = "notice problem";
      notice.setAttribute("role", "alert");
      const words = document.createElement("p");
      words.textContent = text;
      notice.append(words);
      main.replaceChildren(notice, ...before);
    },
  };
}

// Reads dropped folders to the bottom: [{path, file}].
async function listDropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ path: file.name, file }));
  const found = [];
  const walk = async (entry, prefix) => {
    if (entry.isFile) {
      const file = await new Promise((done, failed) => entry.file(done, failed));
      found.push({ path: prefix + entry.name, file });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!some.length) return;
      for (const inner of some) await walk(inner, `${prefix}${entry.name}/`);
    }
  };
  for (const entry of entries) await walk(entry, "");
  return found;
}

const MOST_FILES = 100;
const MOST_BYTES = 32 * 2 ** 20;
const MOST_TRIES = 5;

// Sends a form and tells how much of it has left; fetch cannot. A full house is asked again.
function post(address, body, onProgress = () => {}, tries = 1) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.responseType = "json";
    request.setRequestHeader("accept", "application/json");
    request.setRequestHeader("x-form-token", token());
    request.upload.addEventListener("progress", (event) => onProgress(event.loaded));
    request.addEventListener("error", () => failed(new Error(say("noAnswer"))));
    request.addEventListener("load", () => {
      const wait = Number(request.getResponseHeader("retry-after"));
      if (request.status < 400 && request.response) done(request.response);
      else if (request.status === 429 && tries < MOST_TRIES) {
        setTimeout(() => post(address, body, onProgress, tries + 1).then(done, failed), (wait || 1) * 1000);
      }
      else failed(new Error(request.response?.detail ?? String(request.status)));
    });
    request.send(body);
  });
}

async function sendFiles(form, files) {
  if (!files.length) return;
  const status = form.querySelector("[data-status]");
  const progress = form.querySelector("[data-progress]");
  status.textContent = status.dataset.sending;
  progress.hidden = false;
  const bytes = files.reduce((sum, { file }) => sum + file.size, 0);
  let sentBytes = 0;
  try {
    const begin = new FormData();
    begin.append("archive", form.querySelector("[name=archive]").value);
    const { address } = await post("/imports", begin);
    let sent = 0;
    while (sent < files.length) {
      const body = new FormData();
      let inBody = 0;
      let count = 0;
      while (sent + count < files.length && count < MOST_FILES && (!count || inBody < MOST_BYTES)) {
        const { path, file } = files[sent + count];
        body.append("files", file, path);
        inBody += file.size;
        count += 1;
      }
      await post(`${address}/files`, body, (loaded) => {
        progress.value = (sentBytes + Math.min(loaded, inBody)) / (bytes || 1);
      });
      sent += count;
      sentBytes += inBody;
    }
    const start = new FormData();
    location.assign((await post(`${address}/start`, start)).address);
  } catch (error) {
    status.textContent = error.message;
    progress.hidden = true;
  }
}
