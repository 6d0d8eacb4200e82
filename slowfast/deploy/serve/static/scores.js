// The panel of what is seen right now: bars of the best classes, and numbers.

import { colourOf } from "./colours.js";

const KEPT = 60;
const RATE_MS = 2000;
const byId = (id) => document.getElementById(id);
const percent = (score) => `${(100 * score).toFixed(score < 0.1 ? 1 : 0)} %`;

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : NaN;
}

export class Scores {
  constructor(tasks, rows) {
    this.tasks = Object.keys(tasks);
    this.lists = {};
    const place = byId("scores");
    place.replaceChildren();
    for (const task of this.tasks) {
      const group = document.createElement("div");
      if (this.tasks.length > 1) {
        const title = document.createElement("h3");
        title.textContent = task;
        group.append(title);
      }
      const list = document.createElement("ol");
      for (let i = 0; i < Math.min(rows, tasks[task]); i += 1) list.append(this.row());
      group.append(list);
      place.append(group);
      this.lists[task] = list;
    }
    this.announced = { text: "", at: 0 };
    this.clear();
  }

  row() {
    const row = document.createElement("li");
    for (const name of ["name", "value", "bar"]) {
      const part = document.createElement("span");
      part.className = name;
      if (name === "bar") part.append(document.createElement("i"));
      row.append(part);
    }
    return row;
  }

  clear() {
    for (const list of Object.values(this.lists)) {
      for (const row of list.children) this.fill(row, "–", "", 0, "");
    }
    this.latencies = [];
    this.model = [];
    this.seen = [];
    for (const id of ["m-latency", "m-fps", "m-model", "m-skipped"]) byId(id).textContent = "–";
    byId("spark").firstElementChild.setAttribute("points", "");
    byId("caption").hidden = true;
  }

  fill(row, name, value, share, colour) {
    const [label, number, bar] = row.children;
    label.textContent = label.title = name;
    number.textContent = value;
    bar.firstElementChild.style.setProperty("--v", share);
    if (colour) bar.firstElementChild.style.setProperty("--c", colour);
  }

  show(top) {
    for (const task of this.tasks) {
      [...this.lists[task].children].forEach((row, i) => {
        const guess = top[task][i];
        if (guess) this.fill(row, guess.name, percent(guess.score), Math.min(1, guess.score), colourOf(task, guess.class));
      });
    }
    const best = this.tasks.map((task) => top[task][0]);
    const text = best.map((guess) => guess.name).join(" · ");
    byId("caption").hidden = false;
    byId("caption").style.setProperty("--c", colourOf(this.tasks[0], best[0].class));
    byId("caption-name").textContent = text;
    byId("caption-score").textContent = percent(best[0].score);
    this.announce(text);
  }

  // For screen readers: not more often than one can listen.
  announce(text) {
    const now = performance.now();
    if (text === this.announced.text || now - this.announced.at < 3000) return;
    this.announced = { text, at: now };
    byId("announce").textContent = text;
  }

  frames(message, skipped) {
    const now = performance.now();
    this.seen.push([now, message.seen]);
    while (this.seen.length > 2 && now - this.seen[0][0] > RATE_MS) this.seen.shift();
    const [firstAt, first] = this.seen[0];
    if (message.seen < first) this.seen = [];
    else if (now - firstAt > 300) byId("m-fps").textContent = ((message.seen - first) / ((now - firstAt) / 1000)).toFixed(0);
    byId("m-skipped").textContent = skipped;
  }

  prediction(prediction, latencyMs) {
    this.show(prediction.top);
    this.model = [...this.model, prediction.inference_ms].slice(-KEPT);
    byId("m-model").textContent = ms(median(this.model));
    if (Number.isNaN(latencyMs)) return;
    this.latencies = [...this.latencies, latencyMs].slice(-KEPT);
    byId("m-latency").textContent = ms(median(this.latencies));
    const most = Math.max(...this.latencies, 1);
    const points = this.latencies.map((value, i) => `${100 - (100 * (this.latencies.length - 1 - i)) / (KEPT - 1)},${22 - (20 * value) / most}`);
    byId("spark").firstElementChild.setAttribute("points", points.join(" "));
  }
}

function ms(value) {
  return value < 10 ? value.toFixed(1) : value.toFixed(0);
}
