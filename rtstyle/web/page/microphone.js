// The microphone of this browser for a recording, as late as the picture is. Its sound goes nowhere else.

const MOST_S = 5; // longest delay
const PLAIN = { echoCancellation: false, noiseSuppression: false, autoGainControl: false }; // each would add a delay

export class Microphone {
  // Open it, with a delay in seconds.
  static async open(delay) {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: PLAIN });
    return new Microphone(stream, delay);
  }

  constructor(stream, delay) {
    this.stream = stream;
    this.context = new AudioContext({ latencyHint: "interactive" });
    this.line = new DelayNode(this.context, { maxDelayTime: MOST_S, delayTime: Math.min(delay, MOST_S) });
    const end = this.context.createMediaStreamDestination();
    this.context.createMediaStreamSource(stream).connect(this.line).connect(end);
    [this.track] = end.stream.getAudioTracks();
  }

  // Follow a delay, in seconds, so slowly that the pitch does not change audibly.
  follow(delay) {
    this.line.delayTime.setTargetAtTime(Math.min(delay, MOST_S), this.context.currentTime, 1);
  }

  close() {
    for (const track of this.stream.getTracks()) track.stop();
    this.context.close();
  }
}
