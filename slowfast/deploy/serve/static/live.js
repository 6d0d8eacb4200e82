// Frames of a video element to the server while it plays, predictions back. Never falls behind:
// while more than a few frames are on their way, newer ones are left out.

import { ServerError, liveAddress } from "./api.js";

const MOST_ON_THEIR_WAY = 8;
const QUALITY = 0.85;
const QUIET_CLOSES = [1000, 1001, 1012, 4408]; // gone, restarted, idle: connect again when needed
const AGAIN_MS = 1500;

export class Live {
  // on: {state(text), prediction(p, latencyMs), frames(info), error(ServerError)}
  constructor(video, settings, on) {
    this.video = video;
    this.settings = settings;
    this.on = on;
    this.canvas = document.createElement("canvas");
    this.socket = null;
    this.running = false;
    this.skipped = 0;
    this.forget();
  }

  forget() {
    this.ready = false;
    this.resets = 0;
    this.sent = 0;
    this.answered = 0;
    this.sentAt = new Map();
    this.lastTime = -Infinity;
  }

  start({ isCamera }) {
    this.stop();
    this.isCamera = isCamera;
    this.begin = performance.now();
    this.skipped = 0;
    this.running = true;
    this.connect();
    this.watch();
  }

  stop() {
    this.running = false;
    this.disconnect();
  }

  disconnect() {
    const socket = this.socket;
    this.socket = null;
    this.forget();
    if (socket) socket.close(1000);
    this.on.state("idle");
  }

  connect() {
    this.forget();
    this.triedAt = performance.now();
    const socket = new WebSocket(liveAddress());
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.on.state("busy");
    socket.onmessage = (event) => {
      if (socket === this.socket) this.take(JSON.parse(event.data));
    };
    socket.onclose = (event) => {
      if (socket !== this.socket) return;
      this.socket = null;
      this.forget();
      this.on.state("idle");
      if (QUIET_CLOSES.includes(event.code) || this.failed) return;
      this.running = false;
      this.on.error(new ServerError("The connection to the server was lost.", "Start again; if that does not help, reload the page."));
    };
  }

  take(message) {
    if (message.type === "ready") {
      this.ready = true;
      this.failed = false;
      this.on.state("live");
    } else if (message.type === "reset") {
      this.resets -= message.count;
      this.answered = message.seen + message.dropped;
    } else if (message.type === "error") {
      if (message.status === 408) return; // idle: it closes, and is opened again when needed
      this.failed = true;
      this.running = false;
      this.on.error(new ServerError(message.error, message.fix, message.status));
    } else if (message.type === "frames" || message.type === "finish") {
      this.answered = message.seen + message.dropped;
      const sentAt = this.sentAt.get(message.time_s);
      for (const time of this.sentAt.keys()) {
        this.sentAt.delete(time);
        if (time === message.time_s) break;
      }
      if (this.resets > 0) return; // of what was shown before a jump
      this.on.frames(message, this.skipped + message.dropped);
      if (message.prediction) this.on.prediction(message.prediction, sentAt ? performance.now() - sentAt : NaN);
      if (message.type === "finish") this.stop(); // others may want the place
    }
  }

  // Another place of the video, or another video.
  reset() {
    this.lastTime = -Infinity;
    if (!this.ready) return;
    this.socket.send('{"type": "reset"}');
    this.resets += 1;
    this.sentAt.clear();
  }

  // The video has ended: what was not predicted yet.
  finish() {
    if (this.ready) this.socket.send('{"type": "finish"}');
  }

  watch() {
    if (!this.running) return;
    const next = () => this.running && this.watch();
    if (this.video.requestVideoFrameCallback) {
      this.video.requestVideoFrameCallback((now, frame) => {
        this.frame(this.isCamera ? (now - this.begin) / 1000 : frame.mediaTime);
        next();
      });
    } else {
      requestAnimationFrame((now) => {
        this.frame(this.isCamera ? (now - this.begin) / 1000 : this.video.currentTime);
        next();
      });
    }
  }

  async frame(time) {
    const { video, settings } = this;
    if (!this.running || video.readyState < 2 || (video.paused && !this.isCamera)) return;
    if (!this.socket && performance.now() - this.triedAt > AGAIN_MS) this.connect();
    if (!this.ready || time - this.lastTime < 0.8 / settings.fps || !video.videoWidth) return;
    if (this.encoding || this.sent - this.answered >= MOST_ON_THEIR_WAY) {
      this.skipped += 1;
      return;
    }
    this.lastTime = time;
    const scale = Math.min(1, settings.short_side / Math.min(video.videoWidth, video.videoHeight));
    const width = Math.max(1, Math.round(video.videoWidth * scale));
    const height = Math.max(1, Math.round(video.videoHeight * scale));
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.canvas.getContext("2d", { alpha: false }).drawImage(video, 0, 0, width, height);
    this.encoding = true;
    const socket = this.socket;
    const resets = this.resets;
    const takenAt = performance.now();
    try {
      const picture = await new Promise((resolve) => this.canvas.toBlob(resolve, "image/jpeg", QUALITY));
      if (!picture || socket !== this.socket || !this.ready || resets < this.resets) return;
      const stamp = new DataView(new ArrayBuffer(8));
      stamp.setFloat64(0, time, true);
      socket.send(new Blob([stamp.buffer, picture]));
      this.sent += 1;
      this.sentAt.set(time, takenAt);
    } finally {
      this.encoding = false;
    }
  }
}
