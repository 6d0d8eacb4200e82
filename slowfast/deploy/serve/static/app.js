// The page: a video or a webcam on one side, what the model sees on the other.

import { ServerError, analyse, readModel } from "./api.js";
import { Live } from "./live.js";
import { Scores } from "./scores.js";
import { Timeline } from "./timeline.js";

const byId = (id) => document.getElementById(id);
const video = byId("video");
const stage = byId("stage");
const STATES = { idle: "Idle", busy: "Working", live: "Live", error: "Error" };
let model, live, scores, timeline, file, camera, upload, source = null;

function setState(state) {
  byId("status").dataset.state = state;
  byId("status-text").textContent = STATES[state];
}

function showError(error) {
  if (error instanceof ServerError && !error.message) return; // called off
  const known = error instanceof ServerError;
  byId("notice-error").textContent = known ? error.message : "Something went wrong on this page.";
  byId("notice-fix").textContent = known ? error.fix : `${error}`;
  byId("notice").hidden = false;
  setState("error");
}

function hideError() {
  byId("notice").hidden = true;
  if (byId("status").dataset.state === "error") setState("idle");
}

function describe() {
  const classes = Object.entries(model.tasks).map(([task, count]) => `${count} ${Object.keys(model.tasks).length > 1 ? `${task}s` : "classes"}`);
  const form = model.mode === "stream" ? "frame by frame" : `clips of ${model.window_s.toFixed(1)} s`;
  byId("model").textContent = [model.model, classes.join(", "), form, model.precision].filter(Boolean).join(" · ");
  byId("model").title = model.file;
  const { upload_bytes: bytes, seconds } = model.limits;
  byId("time-hint").textContent = model.window_s > 0.5
    ? `What is recognised appears here as the video plays, the first after ${model.window_s.toFixed(1)} s.`
    : "What is recognised appears here as the video plays.";
  byId("drop-limits").textContent = `Whole files: up to ${Math.round(bytes / 2 ** 20)} MB and ${seconds} s. Nothing is kept.`;
}

function stopSource() {
  live.stop();
  if (upload) upload.cancel();
  if (camera) camera.getTracks().forEach((track) => track.stop());
  camera = null;
  video.pause();
  video.srcObject = null;
  if (video.src) {
    URL.revokeObjectURL(video.src);
    video.removeAttribute("src");
    video.load();
  }
  video.controls = false;
  byId("webcam").setAttribute("aria-pressed", "false");
  byId("webcam").textContent = "Use the webcam";
  source = null;
}

function begin(kind, name) {
  stopSource();
  hideError();
  source = kind;
  stage.dataset.state = kind;
  scores.clear();
  timeline.begin({ isCamera: kind === "webcam" });
  byId("filename").textContent = byId("filename").title = name;
  byId("analyse").hidden = kind !== "file";
}

function openFile(chosen) {
  if (!chosen) return;
  begin("file", chosen.name);
  file = chosen;
  video.controls = true;
  video.src = URL.createObjectURL(chosen);
  video.play().catch(() => {}); // an error event tells
}

async function openCamera() {
  if (source === "webcam") {
    begin("empty", "");
    return;
  }
  if (!navigator.mediaDevices) {
    showError(new ServerError("Browsers give webcams to secure pages only.", "Open this page at localhost or over https."));
    return;
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, frameRate: { ideal: 30 } } });
  } catch (error) {
    const denied = error.name === "NotAllowedError";
    showError(new ServerError(denied ? "The browser may not use the webcam." : "No webcam was found.", denied ? "Allow it in the address bar, then try again." : "Connect one, then try again."));
    return;
  }
  begin("webcam", "");
  camera = stream;
  camera.getVideoTracks()[0].addEventListener("ended", () => {
    if (camera !== stream) return;
    begin("empty", "");
    showError(new ServerError("The webcam was taken away.", "Connect it again."));
  });
  video.srcObject = camera;
  byId("webcam").setAttribute("aria-pressed", "true");
  byId("webcam").textContent = "Stop the webcam";
  await video.play();
  live.start({ isCamera: true });
}

async function analyseFile() {
  const { upload_bytes: most, seconds } = model.limits;
  hideError();
  if (file.size > most) {
    showError(new ServerError(`The file is larger than ${Math.round(most / 2 ** 20)} MB.`, "Play it instead, or cut it."));
    return;
  }
  if (Number.isFinite(video.duration) && video.duration > seconds) {
    showError(new ServerError(`The video lasts longer than ${seconds} s.`, "Play it instead, or cut it."));
    return;
  }
  if (upload) upload.cancel();
  live.stop();
  video.pause();
  setState("busy");
  byId("analyse").disabled = true;
  byId("progress").hidden = false;
  const bar = byId("progress-bar");
  const progress = (share) => {
    if (share < 1) bar.value = share;
    else bar.removeAttribute("value"); // nobody knows how long
    byId("progress-text").textContent = share < 1 ? `Sending ${Math.round(100 * share)} %` : "The model watches it…";
  };
  progress(0);
  const mine = analyse(file, progress);
  upload = mine;
  try {
    const result = await mine.done;
    timeline.fill(result);
    scores.clear();
    scores.show(result.summary);
    byId("m-model").textContent = ((1e3 * result.timings.inference_s) / result.predictions.length).toFixed(1);
    byId("m-fps").textContent = (result.video.frames / result.timings.total_s).toFixed(0);
    setState("idle");
  } catch (error) {
    setState("idle");
    showError(error);
  } finally {
    if (upload === mine) {
      upload = null;
      byId("progress").hidden = true;
      byId("analyse").disabled = false;
    }
  }
}

function download() {
  const about = { video: file && source !== "webcam" ? file.name : "webcam", model: model.model, segments: timeline.entries() };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(about, null, 1)], { type: "application/json" }));
  link.download = "recognised.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function wireVideo() {
  video.addEventListener("loadedmetadata", () => {
    if (source !== "file") return;
    timeline.begin({ duration: Number.isFinite(video.duration) ? video.duration : 0 });
  });
  video.addEventListener("play", () => source === "file" && !live.running && live.start({ isCamera: false }));
  video.addEventListener("ended", () => source === "file" && setTimeout(() => live.finish(), 100)); // after the last frame
  video.addEventListener("seeking", () => {
    if (source !== "file") return;
    live.reset();
    timeline.jump();
  });
  video.addEventListener("error", () => {
    if (source !== "file" || !video.hasAttribute("src")) return;
    stage.dataset.state = "sent"; // no picture here, but the server may read it
    analyseFile();
  });
  const follow = () => {
    if (source === "file") timeline.setNow(video.currentTime);
    else if (source === "webcam" && live.running) timeline.setNow((performance.now() - live.begin) / 1000);
    requestAnimationFrame(follow);
  };
  requestAnimationFrame(follow);
}

function wireDropping() {
  let depth = 0;
  const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  const over = (change) => (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = Math.max(0, depth + change);
    byId("dropping").hidden = !depth;
  };
  addEventListener("dragenter", over(1));
  addEventListener("dragleave", over(-1));
  addEventListener("dragover", over(0));
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    byId("dropping").hidden = true;
    openFile(event.dataTransfer.files[0]);
  });
}

function wireButtons() {
  const choose = () => byId("file").click();
  byId("choose").addEventListener("click", choose);
  byId("drop").addEventListener("click", choose);
  byId("file").addEventListener("change", (event) => {
    openFile(event.target.files[0]);
    event.target.value = "";
  });
  byId("webcam").addEventListener("click", () => openCamera().catch(showError));
  byId("analyse").addEventListener("click", analyseFile);
  byId("cancel").addEventListener("click", () => upload && upload.cancel());
  byId("download").addEventListener("click", download);
  byId("notice-close").addEventListener("click", hideError);
  addEventListener("pagehide", () => begin("empty", ""));
}

async function main() {
  try {
    model = await readModel();
  } catch (error) {
    byId("model").textContent = "";
    showError(error);
    return;
  }
  describe();
  scores = new Scores(model.tasks, Object.keys(model.tasks).length > 1 ? 3 : 5);
  timeline = new Timeline(model.tasks, (seconds) => {
    if (source === "file" && Number.isFinite(video.duration)) video.currentTime = Math.min(seconds, video.duration);
  });
  live = new Live(video, model.live, {
    state: (state) => byId("status").dataset.state !== "error" && setState(state),
    error: showError,
    frames: (message, skipped) => scores.frames(message, skipped),
    prediction: (prediction, latency) => {
      scores.prediction(prediction, latency);
      timeline.add(prediction);
    },
  });
  wireVideo();
  wireDropping();
  wireButtons();
  document.body.dataset.ready = "true";
}

main();
