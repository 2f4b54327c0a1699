"""Scripts that tests run in the page."""

STILL = """
async (url) => {
  const picture = await createImageBitmap(await (await fetch(url)).blob());
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  [canvas.width, canvas.height] = [640, 360];
  setInterval(() => pen.drawImage(picture, 0, 0), 33);
  navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(30);
}
"""
"""A camera that sees one picture."""

CAMERA_4_3 = """
() => {
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  [canvas.width, canvas.height] = [640, 480];
  setInterval(() => { pen.fillStyle = "#468"; pen.fillRect(0, 0, 640, 480); }, 33);
  navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(30);
}
"""
"""A camera whose picture is higher than the page's own shape."""

FLASHES = """
() => {
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d"), context = new AudioContext();
  const gain = new GainNode(context, { gain: 0 }), end = context.createMediaStreamDestination();
  const tone = new OscillatorNode(context, { frequency: 1000 });
  tone.connect(gain).connect(end);
  tone.start();
  [canvas.width, canvas.height] = [640, 360];
  const began = performance.now();
  setInterval(() => {
    const on = (performance.now() - began) % 1000 < 200;
    pen.fillStyle = on ? "#fff" : "#000";
    pen.fillRect(0, 0, 640, 360);
    gain.gain.value = on ? 0.5 : 0;
  }, 16);
  navigator.mediaDevices.getUserMedia = async ({ audio }) => {
    await context.resume();
    return audio ? end.stream : canvas.captureStream(30);
  };
}
"""
"""A camera that flashes once a second, and a microphone that hears a tone meanwhile."""

BELOW = """
() => [...document.querySelectorAll("button, input, select, #stage")]
  .filter((one) => one.checkVisibility() && one.getBoundingClientRect().bottom > innerHeight)
  .map((one) => one.id || one.value)
"""
"""Controls that one would have to scroll to."""

PIXELS = """
(id) => {
  const video = document.getElementById(id), canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const pen = canvas.getContext("2d");
  pen.drawImage(video, 0, 0);
  const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  return [canvas.height, canvas.width, Array.from(data)];
}
"""

NARROW = """
() => [...document.querySelectorAll("select")].filter((one) => one.checkVisibility()).filter((one) => {
  const wide = one.cloneNode(true);
  wide.style.cssText = "position: absolute; width: max-content; max-width: none";
  one.after(wide);
  const needed = wide.getBoundingClientRect().width;
  wide.remove();
  return needed > one.getBoundingClientRect().width + .5;
}).map((one) => one.id)
"""
"""Lists that are too narrow for the longest of their texts."""
