// What was recognised when: one track per task, a coloured stretch for as long as the best class
// stays the same. A whole video, or the last minute of a camera.

import { colourOf, paint } from "./colours.js";

const CAMERA_WINDOW_S = 60;
const CAMERA_BEGIN_S = 15;
const KEPT_S = 600; // of a camera
const LABEL_PIXELS = 54;
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800];
const byId = (id) => document.getElementById(id);

export function clock(seconds, step = 1) {
  const whole = Math.max(0, seconds);
  const minutes = Math.floor(whole / 60);
  const rest = (whole - 60 * minutes).toFixed(step < 1 ? 1 : 0).padStart(step < 1 ? 4 : 2, "0");
  return `${minutes}:${rest}`;
}

export class Timeline {
  // seek(seconds) is called when a moment is chosen.
  constructor(tasks, seek) {
    this.tasks = Object.keys(tasks);
    this.seek = seek;
    this.tracks = {};
    byId("tracks").replaceChildren();
    for (const task of this.tasks) this.addTrack(task);
    this.clear();
    const redraw = () => this.draw();
    new ResizeObserver(redraw).observe(byId("tracks"));
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.hideTip());
    document.addEventListener("pointerdown", (event) => event.target.closest(".span") || this.hideTip());
  }

  addTrack(task) {
    const group = document.createElement("div");
    if (this.tasks.length > 1) {
      const title = document.createElement("div");
      title.className = "track-name";
      title.textContent = task;
      group.append(title);
    }
    const track = document.createElement("div");
    track.className = "track";
    track.setAttribute("role", "group");
    track.setAttribute("aria-label", `Timeline of ${task}: arrow keys go from stretch to stretch, Enter shows it in the video`);
    const head = document.createElement("i");
    head.className = "head";
    track.append(head);
    track.addEventListener("click", (event) => {
      const box = track.getBoundingClientRect();
      this.seek(this.timeAt((event.clientX - box.left) / box.width));
    });
    track.addEventListener("keydown", (event) => this.move(event, track));
    group.append(track);
    byId("tracks").append(group);
    this.tracks[task] = { track, head, spans: [], elements: [] };
  }

  clear() {
    this.duration = 0;
    this.isCamera = false;
    this.now = 0;
    this.last = null;
    for (const one of Object.values(this.tracks)) one.spans = [];
    this.hideTip();
    this.draw();
  }

  begin({ duration = 0, isCamera = false }) {
    this.clear();
    this.duration = duration;
    this.isCamera = isCamera;
    this.draw();
  }

  jump() {
    this.last = null;
  }

  setNow(seconds) {
    this.now = seconds;
    const [from, to] = this.range();
    for (const { head } of Object.values(this.tracks)) head.style.left = `${(100 * (seconds - from)) / (to - from)}%`;
    if (this.isCamera) this.draw();
  }

  range() {
    if (!this.isCamera) return [0, Math.max(this.duration, this.now, 0.1)];
    return [Math.max(0, this.now - CAMERA_WINDOW_S), Math.max(CAMERA_BEGIN_S, this.now)];
  }

  timeAt(share) {
    const [from, to] = this.range();
    return from + share * (to - from);
  }

  // A prediction holds from the one before it to its own time; the first one from its beginning.
  add(prediction) {
    const end = prediction.time_s;
    const follows = this.last !== null && this.last >= prediction.start_s && this.last <= end;
    const start = follows ? this.last : prediction.start_s;
    this.last = end;
    for (const task of this.tasks) {
      const guesses = prediction.top[task];
      const one = this.tracks[task];
      const before = one.spans.find((span) => Math.abs(span.end - start) < 1e-6 && span.class === guesses[0].class);
      if (before && follows) {
        this.cut(one, start, end);
        before.end = end;
        this.mix(before, guesses);
      } else {
        this.cut(one, start, end);
        const span = { start, end, class: guesses[0].class, name: guesses[0].name, sums: new Map(), count: 0 };
        this.mix(span, guesses);
        one.spans.push(span);
      }
      one.spans.sort((a, b) => a.start - b.start);
      if (this.isCamera) one.spans = one.spans.filter((span) => span.end > end - KEPT_S);
    }
    this.soon();
  }

  mix(span, guesses) {
    span.count += 1;
    for (const guess of guesses) {
      const entry = span.sums.get(guess.class) || { class: guess.class, name: guess.name, sum: 0 };
      entry.sum += guess.score;
      span.sums.set(guess.class, entry);
    }
  }

  // Make room for what was recognised anew.
  cut(one, start, end) {
    const kept = [];
    for (const span of one.spans) {
      if (span.end <= start || span.start >= end) kept.push(span);
      else {
        if (span.start < start) kept.push({ ...span, end: start });
        if (span.end > end) kept.push({ ...span, start: end });
      }
    }
    one.spans = kept;
  }

  // The result for a whole file, from the server.
  fill(result) {
    this.begin({ duration: result.video.seconds });
    for (const task of this.tasks) {
      this.tracks[task].spans = (result.segments[task] || []).map((segment) => ({
        start: segment.start_s,
        end: segment.end_s,
        class: segment.class,
        name: segment.name,
        count: 1,
        sums: new Map(segment.top.map((guess) => [guess.class, { ...guess, sum: guess.score }])),
      }));
    }
    this.draw();
  }

  best(span, count) {
    return [...span.sums.values()].sort((a, b) => b.sum - a.sum).slice(0, count)
      .map((entry) => ({ ...entry, score: entry.sum / span.count }));
  }

  entries() {
    return Object.fromEntries(this.tasks.map((task) => [task, this.tracks[task].spans.map((span) => ({
      start_s: span.start,
      end_s: span.end,
      class: span.class,
      name: span.name,
      top: this.best(span, 5).map(({ class: id, name, score }) => ({ class: id, name, score })),
    }))]));
  }

  soon() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.waiting);
    this.waiting = 0;
    const [from, to] = this.range();
    for (const task of this.tasks) this.drawTrack(task, from, to);
    this.drawAxis(from, to);
    this.drawLegend(from, to);
    const isEmpty = this.tasks.every((task) => !this.tracks[task].spans.length);
    byId("time-hint").hidden = !isEmpty;
    byId("download").hidden = isEmpty;
  }

  drawTrack(task, from, to) {
    const one = this.tracks[task];
    const shown = one.spans.filter((span) => span.end > from && span.start < to);
    while (one.elements.length < shown.length) one.elements.push(this.spanElement(one));
    while (one.elements.length > shown.length) one.elements.pop().remove();
    const width = one.track.clientWidth;
    shown.forEach((span, i) => {
      const element = one.elements[i];
      const left = Math.max(from, span.start);
      const share = (Math.min(to, span.end) - left) / (to - from);
      element.style.left = `${(100 * (left - from)) / (to - from)}%`;
      element.style.width = `max(2px, ${100 * share}%)`;
      element.span = span;
      element.task = task;
      element.tabIndex = i === (one.focus || 0) ? 0 : -1;
      paint(element, task, span.class);
      element.setAttribute("aria-label", `${clock(span.start, 0.1)} to ${clock(span.end, 0.1)}: ${span.name}`);
      element.firstElementChild.textContent = share * width > LABEL_PIXELS ? span.name : "";
    });
    if ((one.focus || 0) >= shown.length && shown.length) one.elements[0].tabIndex = 0;
    one.head.hidden = !shown.length && !this.duration;
    one.head.style.left = `${(100 * (this.now - from)) / (to - from)}%`;
  }

  spanElement(one) {
    const element = document.createElement("button");
    element.type = "button";
    element.className = "span";
    element.append(document.createElement("span"));
    const show = () => this.showTip(element);
    element.addEventListener("pointerenter", show);
    element.addEventListener("focus", show);
    element.addEventListener("click", (event) => {
      if (event.detail === 0) { // by keyboard
        event.stopPropagation();
        this.seek(element.span.start);
      }
      show();
    });
    element.addEventListener("pointerleave", () => this.hideTip());
    element.addEventListener("blur", () => this.hideTip());
    one.track.insertBefore(element, one.head);
    return element;
  }

  move(event, track) {
    const one = Object.values(this.tracks).find((each) => each.track === track);
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (!step || !one.elements.length) return;
    event.preventDefault();
    const place = one.elements.indexOf(document.activeElement);
    one.focus = Math.min(one.elements.length - 1, Math.max(0, place + step));
    one.elements.forEach((element, i) => { element.tabIndex = i === one.focus ? 0 : -1; });
    one.elements[one.focus].focus();
  }

  drawAxis(from, to) {
    const axis = byId("axis");
    axis.replaceChildren();
    if (!this.isCamera && !this.duration) return;
    const most = Math.max(2, Math.floor(byId("tracks").clientWidth / 80));
    const step = STEPS.find((size) => (to - from) / size <= most) || 3600;
    for (let time = Math.ceil(from / step - 1e-6) * step; time <= to + 1e-6; time += step) {
      const mark = document.createElement("span");
      const share = (time - from) / (to - from);
      mark.textContent = clock(time, step);
      mark.style.left = `${100 * share}%`;
      if (share > 0.97) mark.className = "last";
      axis.append(mark);
    }
  }

  drawLegend(from, to) {
    const task = this.tasks[0];
    const totals = new Map();
    for (const one of this.tasks) {
      for (const span of this.tracks[one].spans) {
        const seconds = Math.min(to, span.end) - Math.max(from, span.start);
        if (seconds <= 0) continue;
        const entry = totals.get(`${one}/${span.class}`) || { task: one, class: span.class, name: span.name, seconds: 0 };
        entry.seconds += seconds;
        totals.set(`${one}/${span.class}`, entry);
      }
    }
    const all = [...totals.values()];
    const whole = all.filter((entry) => entry.task === task).reduce((sum, entry) => sum + entry.seconds, 0) || 1;
    const best = all.sort((a, b) => b.seconds - a.seconds).slice(0, 12);
    byId("legend").replaceChildren(...best.map((entry) => {
      const item = document.createElement("li");
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.setProperty("--c", colourOf(entry.task, entry.class));
      const share = document.createElement("small");
      share.textContent = `${Math.max(1, Math.round((100 * entry.seconds) / whole))} %`;
      item.append(swatch, entry.name, share);
      return item;
    }));
  }

  showTip(element) {
    const tip = byId("tip");
    const { span, task } = element;
    const title = document.createElement("h4");
    title.textContent = `${clock(span.start, 0.1)} – ${clock(span.end, 0.1)}`;
    const rows = this.best(span, 5).map((guess) => {
      const row = document.createElement("p");
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.setProperty("--c", colourOf(task, guess.class));
      const name = document.createElement("span");
      name.textContent = guess.name;
      const value = document.createElement("span");
      value.textContent = `${(100 * guess.score).toFixed(1)} %`;
      row.append(swatch, name, value);
      return row;
    });
    tip.replaceChildren(title, ...rows);
    tip.hidden = false;
    const box = element.getBoundingClientRect();
    const middle = Math.max(0, box.left) + Math.min(box.width, innerWidth) / 2;
    tip.style.left = `${Math.min(innerWidth - tip.offsetWidth - 8, Math.max(8, middle - tip.offsetWidth / 2))}px`;
    const above = box.top - tip.offsetHeight - 8;
    tip.style.top = `${above > 8 ? above : box.bottom + 8}px`;
  }

  hideTip() {
    byId("tip").hidden = true;
  }
}
