// One connection to the server: WebRTC for video, a data channel for settings and figures.

const RETRY_S = [1, 2, 4, 8, 10];

export class Connection {
  // options: watch, height, device, headers, stun, begin (settings), stylized (the video element)
  constructor(options) {
    this.options = options;
    this.closed = false;
    this.tries = 0;
    this.onState = this.onMessage = this.onCamera = this.onFigures = this.onEnd = () => {};
  }

  async open() {
    const { options } = this;
    try {
      if (!options.watch && !this.camera) {
        this.onState("Waiting for the camera …");
        this.camera = await navigator.mediaDevices.getUserMedia({
          video: {
            // Without a width: browsers would crop the picture of a 4:3 camera to it.
            height: { ideal: options.height }, frameRate: { ideal: 30 },
            ...(options.device ? { deviceId: { exact: options.device } } : {}),
          },
        });
        if (this.closed) return this.release();
        this.camera.getVideoTracks()[0].onended = () => this.fail("The camera was disconnected.");
        this.onCamera(this.camera);
      }
    } catch (error) {
      return this.fail(problem(error));
    }
    try {
      await this.connect();
    } catch (error) {
      if (error.refused) return this.fail(error.message, error.refused === 401);
      this.again(error.message);
    }
  }

  async connect() {
    const { options } = this;
    this.onState("Connecting …");
    const peer = this.peer = new RTCPeerConnection({ iceServers: options.stun ? [{ urls: options.stun }] : [] });
    this.channel = peer.createDataChannel("settings");
    this.channel.onopen = () => this.send(options.begin);
    this.channel.onmessage = (event) => this.receive(JSON.parse(event.data));
    peer.ontrack = (event) => {
      // Show each frame at once: delay is worse than jitter.
      if ("jitterBufferTarget" in event.receiver) event.receiver.jitterBufferTarget = 0;
      if ("playoutDelayHint" in event.receiver) event.receiver.playoutDelayHint = 0;
      options.stylized.srcObject = new MediaStream([event.track]);
    };
    peer.onconnectionstatechange = () => {
      if (peer !== this.peer || this.closed) return;
      if (peer.connectionState === "connected") { this.tries = 0; this.onState(options.watch ? "Watching." : "Running."); }
      if (["failed", "disconnected", "closed"].includes(peer.connectionState)) this.again("Connection lost");
    };
    if (options.watch) peer.addTransceiver("video", { direction: "recvonly" });
    else this.addCamera(peer);
    await peer.setLocalDescription();
    await gathered(peer);
    const answer = await fetch("offer", {
      method: "POST", headers: { "Content-Type": "application/json", ...options.headers },
      body: JSON.stringify({ sdp: peer.localDescription.sdp, watch: options.watch, begin: options.watch ? {} : options.begin }),
    });
    const body = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(explain(body)), { refused: answer.status < 500 ? answer.status : 0 });
    if (this.closed || peer !== this.peer) return;
    await peer.setRemoteDescription({ type: "answer", sdp: body.sdp });
    clearInterval(this.timer);
    this.before = null;
    this.timer = setInterval(() => this.measure(), 1000);
  }

  addCamera(peer) {
    const track = this.camera.getVideoTracks()[0];
    track.contentHint = "motion";
    peer.addTransceiver(track, {
      direction: "sendrecv", streams: [this.camera], sendEncodings: [{ maxBitrate: 6e6, degradationPreference: "maintain-resolution" }],
    });
  }

  send(changes) {
    Object.assign(this.options.begin, changes); // a new connection starts with them
    if (this.channel?.readyState === "open") this.channel.send(JSON.stringify(changes));
  }

  receive(message) {
    if (message.end) return this.fail(message.end);
    if (message.age_p50_ms !== undefined) this.server = message;
    this.onMessage(message);
  }

  // Delay: the server reports its part; the browser's statistics give encoding, buffering, decoding and the round trip.
  async measure() {
    if (this.peer?.connectionState !== "connected") return;
    const now = {}, peer = this.peer;
    for (const one of (await peer.getStats()).values()) {
      if (one.type === "inbound-rtp" && one.kind === "video") now.in = one;
      if (one.type === "outbound-rtp" && one.kind === "video") now.out = one;
      if (one.type === "candidate-pair" && one.nominated) now.way = one;
    }
    if (this.before?.in && now.in) {
      const per = (key, count, side) => {
        const frames = (now[side]?.[count] ?? 0) - (this.before[side]?.[count] ?? 0);
        return frames > 0 ? 1000 * ((now[side][key] ?? 0) - (this.before[side][key] ?? 0)) / frames : 0;
      };
      const browser = per("jitterBufferDelay", "jitterBufferEmittedCount", "in") + per("totalDecodeTime", "framesDecoded", "in")
        + per("totalEncodeTime", "framesEncoded", "out");
      const delay = (this.server?.age_p50_ms ?? 0) + browser + 1000 * (now.way?.currentRoundTripTime ?? 0);
      this.onFigures({ delay, fps: now.in.framesPerSecond ?? 0 });
    }
    this.before = now;
  }

  // Connect again after a failure, waiting longer each time.
  again(reason) {
    if (this.closed || this.waiting) return;
    this.drop();
    const wait = RETRY_S[Math.min(this.tries++, RETRY_S.length - 1)];
    this.onState(`${reason}; retrying in ${wait} s`, true);
    this.waiting = setTimeout(() => { this.waiting = null; if (!this.closed) this.open(); }, wait * 1000);
  }

  fail(text, forGood = false) {
    if (this.closed) return;
    this.onState(text, true);
    this.close(forGood);
  }

  drop() {
    clearInterval(this.timer);
    const peer = this.peer;
    this.peer = this.channel = null;
    peer?.close();
  }

  release() {
    for (const track of this.camera?.getTracks() ?? []) { track.onended = null; track.stop(); }
  }

  close(forGood = false) {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.waiting);
    this.drop();
    this.release();
    this.onEnd(forGood);
  }
}

export function explain({ error, hint }) {
  return hint ? `${error} (${hint})` : error;
}

function problem(error) {
  const texts = {
    NotAllowedError: "Camera access was denied. Allow it in the browser's address bar, then press Start.",
    NotFoundError: "No camera was found.",
    NotReadableError: "Another program is using the camera.",
    OverconstrainedError: "This camera is no longer available.",
  };
  return texts[error.name] ?? `Cannot open the camera: ${error.message}`;
}

// Wait until the offer has all candidates; without STUN they are known at once.
function gathered(peer) {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((done) => {
    const timer = setTimeout(done, 2000);
    peer.addEventListener("icegatheringstatechange", () => {
      if (peer.iceGatheringState === "complete") { clearTimeout(timer); done(); }
    });
  });
}
