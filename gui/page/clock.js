// Times by the clock of the control plane, and how far they are away.

import { h } from "./dom.js";

let ahead = 0; // of the control plane's clock before this one, in milliseconds

export function setClock(now) { ahead = new Date(now).getTime() - Date.now(); }

const now = () => Date.now() + ahead;

// span is a length of time in the two largest units that it has: "23 h 04 min".
export function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${two(Math.floor(s / 60) % 60)} min`;
  const days = Math.floor(s / 86400);
  if (days < 730) return `${days} d ${Math.floor(s / 3600) % 24} h`;
  return `${Math.floor(days / 365)} years`;
}

export const clock = (t) => new Date(t).toLocaleTimeString("en-GB");

// An element that tells a time is written anew each second, as long as it is in the page.

// ends counts down to a time. soon is how long before it says so, in milliseconds.
export function ends(t, soon) {
  const e = h("time", { datetime: t, title: new Date(t).toLocaleString("en-GB"), "data-ends": new Date(t).getTime(), "data-soon": soon });
  write(e);
  return e;
}

// since counts up from a time.
export function since(t) {
  const e = h("time", { datetime: t, title: new Date(t).toLocaleString("en-GB"), "data-since": new Date(t).getTime() });
  write(e);
  return e;
}

// life is the bar that shows what is left between two times.
export function life(from, to) {
  const bar = h("span", { class: "life", "aria-hidden": "true", "data-from": new Date(from).getTime(), "data-to": new Date(to).getTime() }, h("span"));
  write(bar);
  return bar;
}

function write(e) {
  const d = e.dataset;
  if (d.from) {
    const left = Math.min(1, Math.max(0, (d.to - now()) / (d.to - d.from)));
    const width = `${(100 * left).toFixed(1)}%`;
    if (e.firstChild.style.width !== width) e.firstChild.style.width = width;
    return;
  }
  let text, state = "";
  if (d.since) text = span(now() - d.since);
  else {
    const left = d.ends - now();
    text = left > 0 ? span(left) : `ended ${span(-left)} ago`;
    state = left <= 0 ? "over" : left < d.soon ? "soon" : "";
    if (state === "soon") text += ", soon";
  }
  if (e.textContent !== text) e.textContent = text;
  if (e.className !== state) e.className = state;
}

setInterval(() => {
  if (!document.hidden) document.querySelectorAll("time[data-ends], time[data-since], .life").forEach(write);
}, 1000);
