// Talking to the server: its description, whole files, errors.

export class ServerError extends Error {
  constructor(error, fix = "", status = 0) {
    super(error);
    this.fix = fix;
    this.status = status;
  }
}

const token = new URLSearchParams(location.hash.slice(1)).get("token") || "";
const headers = token ? { Authorization: `Bearer ${token}` } : {};
const UNREACHABLE = ["The server does not answer.", "Is it still running? Then reload the page."];

export function liveAddress() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const query = token ? `?token=${encodeURIComponent(token)}` : "";
  return `${scheme}//${location.host}/ws/live${query}`;
}

function errorOf(status, text) {
  try {
    const found = JSON.parse(text);
    return new ServerError(found.error || "The server refused.", found.fix || "", status);
  } catch {
    return new ServerError(`The server answered with status ${status}.`, "Try again.", status);
  }
}

export async function readModel() {
  let answer;
  try {
    answer = await fetch("api/model", { headers });
  } catch {
    throw new ServerError(...UNREACHABLE);
  }
  if (!answer.ok) throw errorOf(answer.status, await answer.text());
  return answer.json();
}

// Sends a whole file; onProgress gets the share that is sent, 0 to 1. Returns {done, cancel}.
export function analyse(file, onProgress) {
  const request = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    request.open("POST", "api/predict?top=5");
    request.setRequestHeader("Content-Type", "application/octet-stream");
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onProgress(event.loaded / Math.max(event.total, 1));
    request.onload = () => {
      if (request.status === 200) resolve(JSON.parse(request.responseText));
      else reject(errorOf(request.status, request.responseText));
    };
    request.onerror = () => reject(new ServerError(...UNREACHABLE));
    request.onabort = () => reject(new ServerError("", ""));
    request.send(file);
  });
  return { done, cancel: () => request.abort() };
}
