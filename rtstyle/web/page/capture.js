// Saves pictures and recordings of the stylized video as downloads of the browser.

const TYPES = ["video/mp4;codecs=avc1", "video/webm;codecs=vp9", "video/webm"];

export class Capture {
  // `link` starts the downloads, `button` shows that a recording runs, and `say` tells what was saved.
  constructor({ video, link, button, say }) {
    Object.assign(this, { video, link, button, say });
    this.recorder = null;
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
    if (this.recorder) { this.stop(); return "recording saved"; }
    if (!this.video.srcObject) return "";
    const type = TYPES.find((one) => MediaRecorder.isTypeSupported(one)), parts = [];
    this.recorder = new MediaRecorder(this.video.srcObject, { mimeType: type, videoBitsPerSecond: 8e6 });
    this.recorder.ondataavailable = (event) => parts.push(event.data);
    this.recorder.onstop = () => {
      this.offer(type.startsWith("video/mp4") ? "mp4" : "webm", new Blob(parts, { type }));
      this.recorder = null;
      this.show(false);
    };
    this.recorder.start(1000);
    this.show(true);
    this.say("Recording.");
    return "recording";
  }

  stop() {
    if (this.recorder && this.recorder.state !== "inactive") this.recorder.stop();
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
