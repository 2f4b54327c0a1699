// Your style: let the server learn one from a painting, follow that, watch it on the picture, download and remove styles.
import { explain } from "./connection.js";
import { asking, clock, make } from "./files.js";

const BUSY_MS = 1000;
const LARGEST = 20e6; // bytes of a painting

const $ = (id) => document.getElementById(id);
const BUSY = ["starting", "running", "saving"];

export class YourStyle {
  // options: headers, setStatus, alone (nothing else takes what is dropped), use(name) (choose a style), relearn (fetch
  // the styles again, which calls `take`)
  constructor(options) {
    this.options = options;
    this.state = { state: "idle" };
    this.file = null; // the chosen painting
    this.mine = false; // this page began the training
    this.timer = null;
    $("your-open").hidden = false;
    $("your-open").onclick = () => this.open($("yours").hidden);
    $("pick-painting").onclick = () => $("painting").click();
    $("painting").onchange = () => { this.choose($("painting").files[0]); $("painting").value = ""; };
    $("learn").onclick = () => this.begin();
    $("title").onkeydown = (event) => { if (event.key === "Enter") { event.preventDefault(); $("learn").click(); } };
    $("watch").onclick = () => this.options.use(this.state.unfinished);
    $("stop-learning").onclick = () => this.ask("DELETE", "training");
    const target = options.alone ? window : $("yours");
    target.addEventListener("dragover", (event) => this.dragged(event));
    target.addEventListener("dragleave", () => $("yours").classList.remove("over"));
    target.addEventListener("drop", (event) => this.dropped(event));
  }

  open(yes) {
    $("yours").hidden = !yes;
    $("styles").hidden = yes;
    $("your-open").setAttribute("aria-pressed", yes);
    this.draw();
  }

  dragged(event) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    event.stopPropagation();
    if ($("yours").hidden) this.open(true);
    $("yours").classList.add("over");
  }

  dropped(event) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    event.stopPropagation();
    $("yours").classList.remove("over");
    this.choose(event.dataTransfer.files[0]);
  }

  choose(file) {
    if (!file || this.busy() || this.state.missing) return;
    if (file.size > LARGEST) return this.options.setStatus(`${file.name} has ${(file.size / 1e6).toFixed(1)} MB; a painting may have 20 MB.`, true);
    this.file = file;
    $("title").value = file.name.replace(/\.[^.]*$/, "").replace(/[_\s]+/g, " ").trim().slice(0, $("title").maxLength);
    const reader = new FileReader(); // the page's policy allows no blob as a picture
    reader.onload = () => { if (this.file === file) $("chosen-painting").src = reader.result; };
    reader.readAsDataURL(file);
    this.draw();
    $("title").select();
    $("title").focus();
  }

  async begin() {
    const { file } = this;
    if (!file) return;
    this.file = null;
    this.mine = true;
    this.show({ ...this.state, state: "starting", title: $("title").value || file.name, percent: 0, problem: "" });
    const query = new URLSearchParams({ file: file.name, title: $("title").value });
    const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
    if (!await this.ask("POST", `?${query}`, { body: file, type })) {
      this.file = file; // for another try
      this.mine = false;
      this.draw();
    }
  }

  // Ask the server for something about styles, show its answer, and return whether it did it.
  async ask(method, path, { body, type } = {}) {
    clearTimeout(this.timer);
    let done = false;
    try {
      const headers = { ...this.options.headers, ...(type ? { "Content-Type": type } : {}) };
      const answer = await fetch(`styles${path.startsWith("?") ? "" : "/"}${path}`, { method, headers, body });
      const said = await answer.json();
      done = answer.ok;
      if (done) this.show(said);
      else {
        this.options.setStatus(explain(said), true);
        if (method !== "GET") await this.ask("GET", "training");
      }
    } catch (error) {
      this.options.setStatus(`The server does not respond: ${error.message}`, true);
      this.later();
    }
    return done;
  }

  later() {
    clearTimeout(this.timer);
    if (this.busy()) this.timer = setTimeout(() => this.ask("GET", "training"), BUSY_MS);
  }

  busy() {
    return BUSY.includes(this.state.state);
  }

  // Show the state of the training; `entries` are the styles that may be chosen, if they are new.
  show(state, entries = null) {
    const before = this.state;
    this.state = state;
    if (entries) this.drawOwn(entries.filter((one) => one.own));
    this.draw();
    this.later();
    if (entries || before.state === state.state && before.unfinished === state.unfinished) return;
    if (before.unfinished !== state.unfinished || state.state === "done") this.options.relearn().then(() => this.ended(before));
    else this.ended(before);
  }

  // Say how a training ended, and use its style if it was begun here.
  ended(before) {
    const { state, title, name, problem, hint } = this.state;
    if (!BUSY.includes(before.state) || this.busy()) return;
    if (state === "failed" && problem) this.options.setStatus(`${title || "The style"} was not learned: ${explain({ error: problem, hint })}`, true);
    if (state === "stopped") this.options.setStatus("Learning was stopped.");
    if (state === "done") {
      if (this.mine) this.options.use(name);
      this.options.setStatus(`${title} is learned.`);
    }
    this.mine = false;
  }

  draw() {
    const { state, title, percent, left_s, note, missing, unfinished } = this.state, busy = this.busy();
    $("learning").hidden = !busy;
    $("choosing").hidden = busy || Boolean(missing);
    $("missing").hidden = !missing;
    $("missing").textContent = missing ?? "";
    $("named").hidden = !this.file;
    $("yours-note").hidden = Boolean(this.file);
    if (!this.file) $("chosen-painting").removeAttribute("src");
    const running = state === "running";
    if (running) $("learned").value = percent / 100;
    else $("learned").removeAttribute("value");
    const left = left_s === null || left_s === undefined ? "" : ` · ${clock(left_s)} left`;
    const doing = { starting: note ? `${note} …` : "starting …", running: `${Math.floor(percent)} %${left}`, saving: "saving …" }[state];
    $("learning-say").textContent = busy ? `${title}: ${doing}` : "";
    $("watch").disabled = !unfinished;
    $("stop-learning").disabled = state === "saving";
    const open = !$("yours").hidden;
    $("your-open").textContent = open ? "All styles" : running ? `Learning ${Math.floor(percent)} %` : busy ? "Learning …" : "+ Your style";
  }

  drawOwn(styles) {
    $("own").replaceChildren(...styles.map((style) => {
      const line = make("li"), save = make("button", "small", "Download"), remove = make("button", "small", "Remove");
      for (const one of [save, remove]) Object.assign(one, { type: "button", ariaLabel: `${one.textContent} ${style.title}` });
      save.onclick = () => this.download(style.name);
      remove.onclick = async () => { if (await this.ask("DELETE", style.name)) await this.options.relearn(); };
      line.append(make("span", "name", style.title), save, asking(remove));
      return line;
    }));
  }

  // A link cannot send the token, so the script fetches the pack.
  async download(name) {
    try {
      const answer = await fetch(`styles/${name}.rtstyle`, { headers: this.options.headers });
      if (!answer.ok) return this.options.setStatus(explain(await answer.json()), true);
      const url = URL.createObjectURL(await answer.blob());
      Object.assign($("download"), { href: url, download: `${name}.rtstyle` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60000);
      this.options.setStatus(`${name}.rtstyle was saved to your downloads.`);
    } catch (error) {
      this.options.setStatus(`The server does not respond: ${error.message}`, true);
    }
  }
}
