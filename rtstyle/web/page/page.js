// The page of rtstyle: sends a camera, shows the stylized video. No framework, nothing from other servers.
import { listCameras } from "./cameras.js";
import { Capture } from "./capture.js";
import { Connection, explain } from "./connection.js";
import { Files } from "./files.js";
import { Graph } from "./graph.js";
import * as sliders from "./sliders.js";
import { StyleChoice } from "./styles.js";
import { YourStyle } from "./training.js";

const $ = (id) => document.getElementById(id);
const VIEW = new URLSearchParams(location.search).get("view"), BARE = VIEW === "only";
const token = new URLSearchParams(location.hash.slice(1).replaceAll("+", "%2B")).get("token") ?? "";
const headers = token ? { Authorization: `Bearer ${token}` } : {};
const stage = $("stage"), stylized = $("stylized"), original = $("original");
const graph = new Graph($("graph"), $("delay"), $("fps"));
const choice = new StyleChoice(sendStyle);
const hears = () => $("hear").checked && !$("hear").disabled;
const capture = new Capture({ video: stylized, link: $("download"), button: $("record"), say: setStatus, hears });

let connection = null; // the running connection, if any
let known = { entries: [], watchable: false, begin: {} };
let strengthOn = 1; // restored by the 0 key
let files = null; // the view of files, if the server has one
let yours = null; // the view of one's own styles, if the server learns some
let aside = null; // settings of the view that is not shown
let figuresWanted = !matchMedia("(max-width: 56rem)").matches; // a phone's screen is too small to begin with them
let told = ""; // the smaller size of which the status line has told
let captionTimer = null;

function setStatus(text, alarm = false) {
  $("status").textContent = text;
  $("status").classList.toggle("alarm", alarm);
}

// Show why the page cannot start; the bare page has no status line.
function fail(text) {
  setStatus(text, true);
  if (BARE) $("empty").textContent = text;
  $("empty").classList.toggle("alarm", BARE);
}

function settings() {
  return {
    style: choice.text ?? known.begin.style,
    ...sliders.readAll(),
    only: $("only").value,
    mirror: $("mirror").checked,
    hold_fps: $("hold").checked,
  };
}

function sendStyle() {
  showValues();
  send({ style: choice.text });
}

function send(changes) {
  if (!filesShown()) connection?.send(changes);
}

function filesShown() {
  return document.body.classList.contains("files");
}

// Show the files or the live video; each has settings of its own.
function showFiles(yes) {
  if (yes === filesShown()) return;
  const next = aside ?? { ...known.begin };
  aside = settings();
  document.body.classList.toggle("files", yes);
  apply(next);
  $("live").hidden = yes;
  $("files").hidden = !yes;
  $("tab-live").setAttribute("aria-pressed", !yes);
  $("tab-files").setAttribute("aria-pressed", yes);
  if (!connection) setStatus(yes ? "Choose files and a style, then press Stylize." : "Choose a style and press Start.");
  files.show(yes);
  history.replaceState(null, "", `${yes ? "?view=files" : location.pathname}${location.hash}`); // for a reload
}

function apply(state) {
  choice.show(state.style);
  sliders.place(state);
  $("only").value = state.only;
  $("mirror").checked = state.mirror;
  $("hold").checked = state.hold_fps;
  showValues();
}

// Show the settings of the session; another viewer may have changed them.
function show(state) {
  if (state.error) setStatus(state.error, true);
  if (state.strength === undefined) return;
  if (filesShown()) aside = { ...state, style: state.wanted };
  else showSettings(state);
  const wrong = state.fault || (state.source_state !== "live" && state.source_state);
  if (wrong) setStatus(wrong, true);
  else if ($("status").classList.contains("alarm") && !state.error) setStatus("Running.");
  showWork(state);
}

// Show at which size the machine works, and say it once.
function showWork({ width, height, work_width, work_height, scale, hold_fps }) {
  const smaller = work_width < width;
  $("smaller").hidden = !smaller;
  $("work").textContent = `${work_width} × ${work_height}`;
  const size = `${work_width} × ${work_height}`;
  if (told === size || !hold_fps || !width || work_width > 0.9 * width / Math.max(1, scale)) return;
  // Said once, and kept true while it is what the line says.
  if (!told || $("status").textContent.startsWith("Too slow")) {
    setStatus(`Too slow for ${width} × ${height}: working at ${size}, with larger strokes.`);
  }
  told = size;
}

function showSettings(state) {
  choice.show(state.wanted);
  sliders.place(state, document.activeElement);
  if (document.activeElement !== $("only")) $("only").value = state.only;
  $("mirror").checked = state.mirror;
  $("hold").checked = state.hold_fps;
  showValues();
}

function showValues() {
  $("mix").disabled = !$("second").value;
  $("masking").hidden = !masked();
  choice.showTexture();
  sliders.showAll();
  stage.classList.toggle("mirrored", $("mirror").checked);
}

async function start() {
  const watch = $("source").value === "watch";
  const height = Number($("size").value);
  const device = watch || $("source").value === "camera" ? undefined : $("source").value;
  connection = new Connection({ watch, height, device, headers, stun: known.begin.stun, begin: settings(), stylized });
  connection.onState = (text, alarm) => setStatus(text, alarm);
  connection.onMessage = show;
  connection.onCamera = (stream) => { original.srcObject = stream; listCameras($("source")); };
  connection.onFigures = (reading) => {
    graph.add(reading);
    // What happens between two frames is seen with the second one.
    capture.late(reading.delay + (reading.fps ? 500 / reading.fps : 0));
  };
  connection.onEnd = ended;
  running(true);
  await connection.open();
}

function ended(refused) {
  capture.stop();
  connection = null;
  // Nobody is there to press Start, and the source or the server may come back.
  if (BARE && !refused) setTimeout(start, 3000);
  original.srcObject = stylized.srcObject = null;
  running(false);
}

function running(yes) {
  stage.classList.toggle("live", yes);
  $("start").textContent = yes ? "Stop" : "Start";
  $("start").classList.toggle("main", !yes);
  for (const id of ["save", "record", "full"]) $(id).disabled = !yes;
  $("show-figures").disabled = !yes;
  $("hear").disabled = yes && $("source").value === "watch"; // this microphone is not beside that camera
  if (!yes) { told = ""; $("smaller").hidden = true; graph.clear(); }
  showFigures(figuresWanted);
}

function showFigures(yes) {
  figuresWanted = yes;
  $("figures").hidden = !yes || !connection || BARE;
  $("show-figures").setAttribute("aria-pressed", !$("figures").hidden);
  return `figures ${yes ? "on" : "off"}`;
}

function showKeys(yes) {
  $("keys").hidden = !yes;
  $("show-keys").setAttribute("aria-pressed", yes);
}

// Say in the picture what a key did.
function caption(text) {
  $("caption").textContent = text;
  $("caption").hidden = !text;
  clearTimeout(captionTimer);
  captionTimer = setTimeout(() => { $("caption").hidden = true; }, 2000);
}

function toggle() {
  if (connection) { connection.close(); setStatus("Stopped."); }
  else start();
}

function changeMix(by) {
  return $("second").value ? step("mix", by, "mix") : choice.nextSecond();
}

function step(id, by, label) {
  const input = $(id);
  if (input.disabled) return `${label} ${$(`${id}-now`).textContent}`;
  input.value = Number(input.value) + by;
  input.dispatchEvent(new Event("input"));
  return `${label} ${$(`${id}-now`).textContent}`;
}

// True if the style shows in a part of the picture only.
function masked() {
  return $("only").value !== "all" || known.masked;
}

// Change what masks do; without one that would not be seen.
function stepMask(id, by, label) {
  return masked() ? step(id, by, label) : "choose a part of the picture first: O";
}

function toggleStyle() {
  const now = Number($("strength").value);
  strengthOn = now || strengthOn;
  step("strength", now ? -1 : strengthOn);
  return now ? "style off" : choice.caption;
}

function toggleMirror() {
  $("mirror").click();
  return `mirror ${$("mirror").checked ? "on" : "off"}`;
}

function nextPart() {
  $("only").selectedIndex = ($("only").selectedIndex + 1) % $("only").options.length;
  $("only").dispatchEvent(new Event("change"));
  return $("only").selectedOptions[0].textContent;
}

function nextView() {
  const all = [...document.querySelectorAll("input[name=view]")];
  const next = all[(all.findIndex((one) => one.checked) + 1) % all.length];
  next.checked = true;
  next.dispatchEvent(new Event("change", { bubbles: true }));
  return next.parentElement.textContent.trim();
}

// What each key does; the answer is its caption.
const KEYS = {
  a: () => choice.step(-1), d: () => choice.step(1),
  x: () => choice.nextSecond(), ",": () => changeMix(-0.1), ".": () => changeMix(0.1),
  z: () => step("strength", -0.1, "strength"), c: () => step("strength", 0.1, "strength"),
  g: () => step("texture", -0.1, "texture"), l: () => step("texture", 0.1, "texture"),
  v: () => step("colours", -0.1, "own colours"), b: () => step("colours", 0.1, "own colours"),
  "[": () => step("scale", -0.25, "stroke size"), "]": () => step("scale", 0.25, "stroke size"),
  y: () => stepMask("inside", -0.1, "inside"), u: () => stepMask("inside", 0.1, "inside"),
  j: () => stepMask("outside", -0.1, "outside"), k: () => stepMask("outside", 0.1, "outside"),
  w: () => stepMask("feather", -1, "soft border"), e: () => stepMask("feather", 1, "soft border"),
  n: () => step("faces", -0.1, "faces kept"), m: () => step("faces", 0.1, "faces kept"),
  0: toggleStyle, o: nextPart, s: nextView, t: toggleMirror, i: () => showFigures(!figuresWanted),
  r: () => capture.record(), p: () => capture.save(), f: fullScreen, h: () => showKeys($("keys").hidden),
};

const LIVE_KEYS = ["s", "t", "i", "r", "p", "f", "h"];

function fullScreen() {
  if (!connection) return "";
  const filled = document.fullscreenElement;
  if (filled) document.exitFullscreen();
  else stage.requestFullscreen?.();
  return filled ? "window" : "full screen";
}

function listen() {
  $("start").onclick = toggle;
  $("save").onclick = () => capture.save();
  $("record").onclick = () => capture.record();
  $("full").onclick = fullScreen;
  $("show-figures").onclick = () => showFigures(!figuresWanted);
  $("show-keys").onclick = () => showKeys($("keys").hidden);
  for (const video of [original, stylized]) video.onresize = fitStage;
  $("settings").onsubmit = (event) => event.preventDefault();
  for (const name of Object.keys(sliders.SLIDERS)) {
    $(name).oninput = () => { showValues(); send({ [name]: sliders.read(name) }); };
  }
  $("only").onchange = () => { showValues(); send({ only: $("only").value }); };
  $("mirror").onchange = () => { showValues(); send({ mirror: $("mirror").checked }); };
  $("hold").onchange = () => send({ hold_fps: $("hold").checked });
  $("wipe").oninput = () => stage.style.setProperty("--wipe", `${$("wipe").value}%`);
  $("source").onchange = $("size").onchange = () => { if (connection) { connection.close(); start(); } };
  $("settings").addEventListener("change", (event) => {
    if (event.target.name === "view") stage.dataset.view = event.target.value;
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches?.("select, textarea, [type=text]")) return;
    const key = event.key.toLowerCase();
    if (filesShown() && LIVE_KEYS.includes(key)) return;
    const act = KEYS[key] ?? (/^[1-9]$/.test(key) ? () => choice.choose(Number(key) - 1) : null);
    if (act) { event.preventDefault(); caption(act() ?? ""); }
  });
  $("tab-live").onclick = () => showFiles(false);
  $("tab-files").onclick = () => showFiles(true);
  addEventListener("pagehide", () => connection?.close());
}

// Give the stage the shape of the video, so that no camera is cropped and none stands between black bars.
function fitStage() {
  const { videoWidth, videoHeight } = stylized.videoWidth ? stylized : original;
  if (videoWidth) stage.style.setProperty("--aspect", `${videoWidth} / ${videoHeight}`);
}

function begin() {
  listen();
  document.body.classList.toggle("bare", BARE);
  learn();
}

// Fetch what there is to choose from, and show it; return whether that was possible.
async function fetchStyles() {
  try {
    const answer = await fetch("styles", { headers });
    if (!answer.ok) { fail(explain(await answer.json())); return false; }
    known = await answer.json();
  } catch (error) {
    setStatus(`The server does not respond: ${error.message}`, true);
    if (BARE) setTimeout(learn, 3000);
    return false;
  }
  choice.fill(known.entries, known.training, known.begin.style);
  if (connection) connection.options.begin.style = choice.text; // for the next try
  showValues();
  return true;
}

async function relearn() {
  if (await fetchStyles()) yours.show(known.training, known.entries);
}

function use(name) {
  choice.use(name);
  if (!connection) setStatus("Press Start to see it on your camera.");
}

async function learn() {
  if (!await fetchStyles()) return;
  apply(known.begin);
  if (known.files && !BARE) {
    files = new Files({ headers, entries: choice.entries, settings, setStatus, open: () => showFiles(true) });
    $("tabs").hidden = false;
    showFiles(VIEW === "files");
  }
  if (known.training && !BARE) {
    yours = new YourStyle({ headers, setStatus, alone: !known.files, use, relearn });
    yours.show(known.training, known.entries);
  }
  if (known.watchable) $("source").append(new Option("the machine that runs rtstyle", "watch"));
  if (!navigator.mediaDevices?.getUserMedia) {
    $("source").options[0].disabled = true;
    if (known.watchable) $("source").value = "watch";
    else setStatus("Browsers allow no camera on a page without TLS. Open it as localhost, or start rtstyle web with --cert and --key.", true);
  }
  if (BARE && !known.watchable) {
    return fail("There is nothing to show: start the server with a source, for example rtstyle web --source 0.");
  }
  if (BARE) {
    $("source").value = "watch";
    start();
  }
}

begin();
