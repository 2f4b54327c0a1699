// Saves pictures and recordings of the stylized video as downloads of the browser.
import { Microphone } from "./microphone.js";

const SILENT = ["video/mp4;codecs=avc1", "video/webm;codecs=vp9", "video/webm"];
const SOUNDING = ["video/mp4;codecs=avc1,mp4a.40.2", "video/mp4;codecs=avc1,opus", "video/webm;codecs=vp9,opus", "video/webm"];

export class Capture {
  // `link` starts the downloads, `button` shows that a recording runs, `say` tells what was saved, and `hears` returns
  // whether to record the microphone.
  constructor({ video, link, button, say, hears }) {
    Object.assign(this, { video, link, button, say, hears });
    this.recorder = this.microphone = null;
    this.wanted = false; // a recording runs, or begins
    this.delay = 0; // how late the picture is, seconds
  }

  // Save the picture that is shown, and return what to say of it.
  save() {
    if (!this.video.videoWidth) return "";
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [this.video.videoWidth, this.video.videoHeight];
    canvas.getContext("2d").drawImage(this.video, 0, 0);
    canvas.toBlob((blob) => this.offer("png", blob), "image/png");
    return "picture saved";
  }

  // Begin a recording, or end the one that runs, and return what to say of it.
  record() {
    if (this.wanted) { this.stop(); return "recording saved"; }
    if (!this.video.srcObject) return "";
    this.wanted = true;
    this.show(true);
    this.begin();
    return "recording";
  }

  // Learn how late the picture is, in milliseconds.
  late(delay) {
    this.delay = delay / 1000;
    this.microphone?.follow(this.delay);
  }

  async begin() {
    let told = "Recording.";
    if (this.hears()) {
      const microphone = await Microphone.open(this.delay).catch((error) => { told = `Recording without sound: ${problem(error)}`; });
      if (!this.wanted || !this.video.srcObject) { microphone?.close(); return this.show(false); }
      this.microphone = microphone ?? null;
    }
    const sound = this.microphone ? [this.microphone.track] : [], parts = [];
    const type = (sound.length ? SOUNDING : SILENT).find((one) => MediaRecorder.isTypeSupported(one));
    const stream = new MediaStream([...this.video.srcObject.getVideoTracks(), ...sound]);
    const recorder = this.recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: 8e6 });
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = () => {
      this.offer(type.startsWith("video/mp4") ? "mp4" : "webm", new Blob(parts, { type }));
      if (this.recorder === recorder) this.stop();
    };
    recorder.start(1000);
    this.say(told, told !== "Recording.");
  }

  stop() {
    this.wanted = false;
    if (this.recorder && this.recorder.state !== "inactive") this.recorder.stop();
    this.microphone?.close();
    this.recorder = this.microphone = null;
    this.show(false);
  }

  show(running) {
    this.button.setAttribute("aria-pressed", running);
    this.button.textContent = running ? "Stop recording" : "Record";
  }

  offer(suffix, blob) {
    const when = new Date().toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-");
    this.link.href = URL.createObjectURL(blob);
    this.link.download = `rtstyle-${when}.${suffix}`;
    this.link.click();
    setTimeout(() => URL.revokeObjectURL(this.link.href), 60000);
    this.say(`${this.link.download} was saved to your downloads.`);
  }
}

function problem(error) {
  const texts = {
    NotAllowedError: "microphone access was denied. Allow it in the browser's address bar.",
    NotFoundError: "no microphone was found.",
    NotReadableError: "another program is using the microphone.",
  };
  return texts[error.name] ?? error.message;
}
