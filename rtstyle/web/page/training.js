// Your style: let the server learn one from a painting, follow that, watch it on the picture, download, rename and
// remove styles. Looks now and then whether there are new ones, of other visitors.
import { explain } from "./connection.js";
import { asking, clock, make } from "./files.js";

const BUSY_MS = 1000, IDLE_MS = 5000;
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
    $("shelf").hidden = yes;
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
    const { files } = event.dataTransfer;
    if (files.length > 1) return this.options.setStatus("A style is learned from one painting: drop one picture.", true);
    this.choose(files[0]);
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

  // Ask the server for something about styles, show its answer, and return that, or null if it refused; `quiet` is for
  // what nobody has asked for.
  async ask(method, path, { body, type, quiet } = {}) {
    clearTimeout(this.timer);
    let done = null;
    try {
      const headers = { ...this.options.headers, ...(type ? { "Content-Type": type } : {}) };
      const answer = await fetch(`styles${path.startsWith("?") ? "" : "/"}${path}`, { method, headers, body });
      const said = await answer.json();
      if (answer.ok) {
        done = said;
        await this.show(said);
      } else {
        if (!quiet) this.options.setStatus(explain(said), true);
        if (method !== "GET") await this.ask("GET", "training");
        else this.later();
      }
    } catch (error) {
      if (!quiet) this.options.setStatus(`The server does not respond: ${error.message}`, true);
      this.later();
    }
    return done;
  }

  // Look again, for others may learn, rename and remove styles, too; a page that nobody sees does not.
  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const busy = this.busy();
      if (busy || !document.hidden) this.ask("GET", "training", { quiet: !busy });
      else this.later();
    }, this.busy() ? BUSY_MS : IDLE_MS);
  }

  busy() {
    return BUSY.includes(this.state.state);
  }

  // Show the state of the training; `entries` are the styles that may be chosen, if they are new.
  async show(state, entries = null) {
    const before = this.state;
    this.state = state;
    if (entries) this.drawOwn(entries.filter((one) => one.own));
    this.draw();
    this.later();
    if (entries) return;
    if (before.revision !== state.revision || before.unfinished !== state.unfinished) await this.options.relearn();
    if (before.state !== state.state) this.ended(before);
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
    this.own = styles;
    if (this.renaming) return; // what is being typed stays
    $("own").replaceChildren(...styles.map((style) => {
      const line = make("li"), acts = make("div", "acts"), name = make("span", "name", style.title);
      const [rename, save, remove] = ["Rename", "Download", "Remove"].map((text) =>
        Object.assign(make("button", "small", text), { type: "button", ariaLabel: `${text} ${style.title}` }));
      rename.onclick = () => this.rename(style, name);
      save.onclick = () => this.download(style.name);
      remove.onclick = () => this.ask("DELETE", style.name);
      acts.append(rename, save, asking(remove));
      line.append(style.preview ? Object.assign(new Image(), { src: style.preview, alt: "" }) : make("i"), name, acts);
      return line;
    }));
  }

  // Let a name be typed in place of the old one: Enter, or a click elsewhere, keeps it, and Escape does not.
  rename(style, name) {
    const input = Object.assign(make("input"), { type: "text", value: style.title, maxLength: $("title").maxLength, ariaLabel: `New name of ${style.title}` });
    this.renaming = true;
    const end = async (title) => {
      if (!this.renaming) return;
      this.renaming = false;
      const chosen = document.querySelector("input[name=style]:checked")?.value === style.name;
      const query = new URLSearchParams({ title });
      const said = title && title !== style.title ? await this.ask("PATCH", `${style.name}?${query}`) : null;
      if (said && chosen) this.options.use(said.renamed);
      this.drawOwn(this.own);
    };
    input.onkeydown = (event) => {
      if (event.key === "Enter") { event.preventDefault(); end(input.value.trim()); }
      if (event.key === "Escape") end("");
    };
    input.onblur = () => end(input.value.trim());
    name.replaceWith(input);
    input.select();
    input.focus();
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
