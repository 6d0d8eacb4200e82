// A colour per class, the same everywhere on the page, in the order in which classes turn up.

const FIRST = [
  "#4a6cf7", "#e8833a", "#1f9d6b", "#d9508a", "#8a5cf0", "#0f9bb4",
  "#b98900", "#d64545", "#6b8e23", "#a0618f", "#3f7fbf", "#b5651d",
];
const known = new Map();

export function colourOf(task, id) {
  const key = `${task}/${id}`;
  if (!known.has(key)) {
    const place = known.size;
    known.set(key, FIRST[place] || `hsl(${(place * 137.5) % 360} 55% 48%)`);
  }
  return known.get(key);
}

export function paint(element, task, id) {
  element.style.setProperty("--c", colourOf(task, id));
}
