// The view of files: choose some, upload them one after another, see them advance, download the results.
import { explain } from "./connection.js";
import { mixCaption, parseMix } from "./mix.js";

const BUSY_MS = 1000, IDLE_MS = 5000; // how often the list is fetched
const SURE_MS = 4000; // how long a button asks whether to remove a result

const $ = (id) => document.getElementById(id);

export function make(tag, name = "", text = "") {
  return Object.assign(document.createElement(tag), { className: name, textContent: text });
}

function shownSize(bytes) {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.ceil(bytes / 1e3)} KB`;
}

export function clock(seconds) {
  const all = Math.max(0, Math.round(seconds)), two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(all / 3600), rest = `${Math.floor(all / 60) % 60}`;
  return hours ? `${hours}:${two(rest)}:${two(all % 60)}` : `${rest}:${two(all % 60)}`;
}

export class Files {
  // options: headers, entries (name → style), settings (returns those of the form), setStatus, open (shows this view)
  constructor(options) {
    this.options = options;
    this.shown = false;
    this.chosen = []; // File objects that wait for the button
    this.uploads = []; // { key, file, name, look, state, sent, problem, request }
    this.list = { files: [], used: 0, limit: 0, room: 0 };
    this.rows = new Map(); // key → elements of a line
    this.states = new Map(); // id → state, to tell what has changed
    this.count = 0;
    $("pick").onclick = () => $("choose").click();
    $("choose").onchange = () => { this.choose([...$("choose").files]); $("choose").value = ""; };
    $("stylize").onclick = () => this.begin();
    addEventListener("dragover", (event) => this.dragged(event));
    addEventListener("dragleave", () => $("drop").classList.remove("over"));
    addEventListener("drop", (event) => this.dropped(event));
    addEventListener("beforeunload", (event) => { if (this.uploads.some((one) => one.state !== "failed")) event.preventDefault(); });
    this.refresh();
  }

  show(yes) {
    this.shown = yes;
    if (!yes) return;
    document.querySelector(".style:has(:checked)")?.scrollIntoView({ block: "nearest", inline: "center" });
    this.refresh();
  }

  dragged(event) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    this.options.open();
    $("drop").classList.add("over");
  }

  dropped(event) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    $("drop").classList.remove("over");
    const folder = [...event.dataTransfer.items].map((one) => one.webkitGetAsEntry?.()).find((one) => one?.isDirectory);
    if (folder) this.options.setStatus(`${folder.name} is a folder; drop the files in it.`, true);
    else this.choose([...event.dataTransfer.files]);
  }

  choose(files) {
    const empty = files.find((file) => !file.size);
    if (empty) this.options.setStatus(`${empty.name} is empty.`, true);
    this.chosen.push(...files.filter((file) => file.size));
    this.drawChosen();
    if (this.chosen.length) $("stylize").focus();
  }

  drawChosen() {
    $("chosen").replaceChildren(...this.chosen.map((file) => {
      const line = make("li"), drop = make("button", "small", "×");
      drop.setAttribute("aria-label", `Leave out ${file.name}`);
      drop.onclick = () => { this.chosen = this.chosen.filter((one) => one !== file); this.drawChosen(); };
      line.append(make("span", "name", file.name), make("span", "quiet", shownSize(file.size)), drop);
      return line;
    }));
    const count = this.chosen.length;
    $("stylize").disabled = !count;
    $("stylize").textContent = count > 1 ? `Stylize ${count} files` : "Stylize";
  }

  // Upload what was chosen, with the settings of this moment.
  begin() {
    const { style, strength, scale, colours, only, faces } = this.options.settings();
    const look = { style, strength, scale, colours, only, faces };
    for (const file of this.chosen) {
      this.uploads.push({ key: `upload-${++this.count}`, file, name: file.name, look, ...look, state: "queued", sent: 0, problem: "" });
    }
    const first = this.uploads.at(-this.chosen.length)?.key;
    this.chosen = [];
    this.drawChosen();
    this.draw();
    this.rows.get(first)?.line.scrollIntoView({ block: "nearest" });
    this.next();
  }

  async next() {
    if (this.uploads.some((one) => one.state === "uploading")) return;
    const item = this.uploads.find((one) => one.state === "queued");
    if (!item) return;
    item.state = "uploading";
    await this.refresh(); // how much room there is now
    if (!this.uploads.includes(item)) return this.next();
    if (item.file.size > this.list.room) {
      const { room } = this.list;
      this.failed(item, `It has ${shownSize(item.file.size)}, and ${room ? `only ${shownSize(room)} are` : "nothing is"} left. Remove files, then try again.`);
    } else this.send(item);
  }

  send(item) {
    const request = item.request = new XMLHttpRequest(); // fetch tells no progress of an upload
    request.open("PUT", `files?${new URLSearchParams({ name: item.name, ...item.look })}`);
    for (const [key, value] of Object.entries(this.options.headers)) request.setRequestHeader(key, value);
    request.upload.onprogress = (event) => { item.sent = event.loaded / event.total; this.draw(); };
    request.onerror = () => this.failed(item, "The upload was interrupted. Is the server running, and the file still there?");
    request.onload = async () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* not from our server */ }
      if (request.status !== 201) return this.failed(item, explain({ error: answer.error ?? `The server answered ${request.status}`, hint: answer.hint }));
      if (!this.list.files.some((one) => one.id === answer.id)) this.list.files.push(answer); // no gap until the next list
      this.forget(item);
      await this.refresh();
      this.next();
    };
    request.send(item.file);
  }

  failed(item, problem) {
    Object.assign(item, { state: "failed", problem, request: null });
    this.draw();
    this.next();
  }

  forget(item) {
    item.request?.abort();
    this.uploads = this.uploads.filter((one) => one !== item);
    this.draw();
    this.next();
  }

  again(item) {
    Object.assign(item, { state: "queued", sent: 0, problem: "" });
    this.draw();
    this.next();
  }

  // Fetch the list now, and again later as long as somebody looks or something runs.
  async refresh() {
    clearTimeout(this.timer);
    try {
      const answer = await fetch("files", { headers: this.options.headers });
      const body = await answer.json();
      if (!answer.ok) throw new Error(explain(body));
      this.take(body);
      if (this.lost) this.options.setStatus("");
      this.lost = false;
    } catch (error) {
      this.lost = true;
      this.options.setStatus(`The list of files cannot be read: ${error.message}`, true);
    }
    clearTimeout(this.timer);
    const busy = this.busy();
    if (this.shown || busy) this.timer = setTimeout(() => this.refresh(), busy ? BUSY_MS : IDLE_MS);
  }

  busy() {
    return this.list.files.some((one) => ["waiting", "running"].includes(one.state));
  }

  async act(file, method, path) {
    const options = { method, headers: { ...this.options.headers } };
    if (method === "POST") Object.assign(options, { body: "{}", headers: { ...options.headers, "Content-Type": "application/json" } });
    try {
      const answer = await fetch(`files/${file.id}${path}`, options);
      if (!answer.ok) this.options.setStatus(explain(await answer.json()), true);
    } catch (error) {
      this.options.setStatus(`The server does not respond: ${error.message}`, true);
    }
    await this.refresh();
  }

  take(list) {
    this.list = list;
    for (const { id, name, state } of list.files) {
      const before = this.states.get(id);
      if (before && before !== state && state === "done") this.options.setStatus(`${name} is done.`);
      if (before && before !== state && state === "failed") this.options.setStatus(`${name} could not be stylized.`, true);
    }
    this.states = new Map(list.files.map(({ id, state }) => [id, state]));
    this.draw();
  }

  draw() {
    const items = [...this.list.files, ...this.uploads]; // what was added first stands first
    const keys = new Set(items.map((one) => one.key ?? one.id));
    for (const [key, row] of this.rows) if (!keys.has(key)) { row.line.remove(); this.rows.delete(key); }
    items.forEach((item, place) => {
      const key = item.key ?? item.id;
      if (!this.rows.has(key)) this.rows.set(key, this.row(item));
      const row = this.rows.get(key);
      this.update(row, item);
      // Only what is not in its place is moved: moving an element takes the focus away.
      if ($("queue").children[place] !== row.line) $("queue").insertBefore(row.line, $("queue").children[place] ?? null);
    });
    $("none").hidden = items.length > 0;
    $("room").textContent = this.list.limit ? `${shownSize(this.list.used)} of ${shownSize(this.list.limit)} used` : "";
    const running = this.list.files.find((one) => one.state === "running");
    $("tab-files").textContent = running?.total ? `Files ${Math.floor(100 * Math.min(1, running.frames / running.total))} %` : "Files";
  }

  row(item) {
    const row = {
      line: make("li", "file"), name: make("strong", "name", item.name), how: make("span", "quiet"),
      bar: make("progress"), say: make("p", "say"), acts: make("div", "acts"), drawn: "",
    };
    const style = this.options.entries.get(parseMix(item.style, [...this.options.entries.keys()])[0][0]);
    const what = make("div", "what");
    const strength = item.strength < 1 ? ` · strength ${Math.round(100 * item.strength)} %` : "";
    const scale = item.scale !== 1 ? ` · strokes ${item.scale.toFixed(2).replace(/\.?0+$/, "")}×` : "";
    row.name.title = item.name;
    const colours = item.colours ? ` · own colours ${Math.round(100 * item.colours)} %` : "";
    const only = item.only === "all" ? "" : ` · only the ${item.only}`;
    const faces = item.faces ? ` · ${Math.round(100 * item.faces)} % of faces kept` : "";
    row.how.textContent = `${mixCaption(item.style, this.options.entries)}${strength}${scale}${colours}${only}${faces}`;
    row.bar.setAttribute("aria-label", `Progress of ${item.name}`);
    what.append(row.name, row.how, row.bar, row.say);
    row.line.append(style?.preview ? Object.assign(new Image(), { src: style.preview, alt: "" }) : make("i"), what, row.acts);
    return row;
  }

  update(row, item) {
    const { state } = item, active = ["queued", "uploading", "running"].includes(state);
    row.line.dataset.state = state;
    row.bar.hidden = !active;
    if (state === "running" && !item.total) row.bar.removeAttribute("value");
    else row.bar.value = item.key ? item.sent : item.frames / Math.max(1, item.total);
    const text = describe(item);
    if (row.say.textContent !== text) row.say.textContent = text;
    const wanted = `${state} ${item.download ?? ""}`;
    if (row.drawn === wanted) return;
    const focused = row.acts.contains(document.activeElement);
    row.drawn = wanted;
    row.line.querySelectorAll(".result").forEach((one) => one.remove());
    row.acts.replaceChildren(...this.acts(item));
    if (focused) row.acts.firstChild?.focus();
  }

  // Show a result in its line, or hide it again.
  look(item, button) {
    const { line } = this.rows.get(item.id), old = [...line.querySelectorAll(".result")], shown = old.length > 0;
    button.setAttribute("aria-expanded", !shown);
    button.textContent = shown ? "Show" : "Hide";
    button.ariaLabel = `${button.textContent} ${item.name}`;
    if (shown) return old.forEach((one) => one.remove());
    const result = make(item.picture ? "img" : "video", "result");
    if (item.picture) result.alt = `Result of ${item.name}`;
    else Object.assign(result, { controls: true, autoplay: true, loop: true, ariaLabel: `Result of ${item.name}` });
    result.onerror = () => result.replaceWith(make("p", "result say", "This browser cannot show it; download it instead."));
    result.src = item.download;
    line.append(result, ...item.notes.map((note) => make("p", "result say", note)));
  }

  acts(item) {
    const act = (text, does) => Object.assign(make("button", "small", text), { onclick: does, ariaLabel: `${text} ${item.name}` });
    if (item.key) {
      const drop = act(item.state === "failed" ? "Remove" : "Cancel", () => this.forget(item));
      return item.state === "failed" ? [act("Try again", () => this.again(item)), drop] : [drop];
    }
    const remove = act("Remove", () => this.act(item, "DELETE", ""));
    const post = (text, path) => act(text, () => this.act(item, "POST", path));
    if (item.state === "done") {
      const link = Object.assign(make("a", "small main", "Download"), { href: item.download, download: "", ariaLabel: `Download ${item.name}` });
      const show = act("Show", () => this.look(item, show));
      show.setAttribute("aria-expanded", "false");
      return [link, show, asking(remove)];
    }
    if (item.state === "running" || item.state === "waiting") return [post("Stop", "/stop"), asking(remove)];
    return item.retry ? [post(item.state === "stopped" ? "Go on" : "Try again", "/retry"), asking(remove)] : [remove];
  }
}

// Let a button that removes the work of hours ask first.
export function asking(button) {
  const does = button.onclick, text = button.textContent, label = button.ariaLabel;
  let timer = null;
  const calm = () => { clearTimeout(timer); timer = null; Object.assign(button, { textContent: text, ariaLabel: label }); button.classList.remove("alarm"); };
  button.onclick = () => {
    if (timer) { calm(); return does(); }
    Object.assign(button, { textContent: "Sure?", ariaLabel: `${label}: sure?` });
    button.classList.add("alarm");
    timer = setTimeout(calm, SURE_MS);
  };
  return button;
}

function describe(item) {
  switch (item.state) {
    case "queued": return "Waiting to be uploaded";
    case "uploading": return `Uploading, ${Math.floor(100 * item.sent)} %`;
    case "waiting": return "Waiting for its turn";
    case "stopped": return "Stopped; what is finished is kept";
    case "done": return `${item.width} × ${item.height}${item.picture ? "" : ` · ${item.frames} frames`} · ${shownSize(item.size)}`;
    case "failed": return item.problem[0].toUpperCase() + item.problem.slice(1);
  }
  if (!item.frames) return "Starting …";
  const of = item.total ? ` of ${item.total}` : "";
  return `${item.frames}${of} frames · ${item.fps.toFixed(1)} fps${item.left_s === null ? "" : ` · ${clock(item.left_s)} left`}`;
}
