// Delay and frame rate of the last minute, as two lines and two numbers.

const SECONDS = 60, MOST_MS = 400, MOST_FPS = 60;

export class Graph {
  constructor(canvas, delay, fps) {
    Object.assign(this, { canvas, delay, fps, readings: [] });
  }

  add(reading) {
    this.readings.push(reading);
    if (this.readings.length > SECONDS) this.readings.shift();
    this.delay.textContent = `${Math.round(reading.delay)} ms`;
    this.fps.textContent = `${Math.round(reading.fps)} fps`;
    this.draw();
  }

  clear() {
    this.readings = [];
    this.delay.textContent = this.fps.textContent = "–";
    this.draw();
  }

  draw() {
    const { canvas } = this, pen = canvas.getContext("2d");
    pen.clearRect(0, 0, canvas.width, canvas.height);
    this.line(pen, "#fca311", (one) => one.delay / MOST_MS);
    this.line(pen, "#7fb8ff", (one) => one.fps / MOST_FPS);
  }

  line(pen, colour, share) {
    const { width, height } = this.canvas;
    pen.strokeStyle = colour;
    pen.lineWidth = 2;
    pen.beginPath();
    this.readings.forEach((one, place) => {
      const x = width * (place + SECONDS - this.readings.length) / (SECONDS - 1);
      pen.lineTo(x, (height - 2) * (1 - Math.min(1, share(one))) + 1);
    });
    pen.stroke();
  }
}
