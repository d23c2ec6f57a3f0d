// The page: it keeps the newest of what the control plane has said, and draws what has changed, once a frame at most.

import { follow } from "./live.js";
import { setClock, clock } from "./clock.js";
import { Matrix } from "./matrix.js";
import { Explanation } from "./explanation.js";
import { Proxies } from "./proxies.js";
import { showTrust } from "./trust.js";
import { showRefusals } from "./refusals.js";
import { showMesh, showMeshes } from "./mesh.js";

const at = (id) => document.getElementById(id);

let parts = new Map(); // what there is, as the control plane cuts it up
let proxies = new Map();
let rows = new Map(); // of the matrix
let admin = false;
let dirty = new Set(); // what is to be drawn anew

const explanation = new Explanation(at("explanation"), (from, to) => matrix.rule(from, to));
const list = new Proxies(at("proxies"));
const matrix = new Matrix(at("matrix"), (from, to) => {
  matrix.choose(`${from}\n${to}`);
  explanation.ask(parts.get("mesh").name, from, to);
});

follow(new URLSearchParams(location.search).get("mesh"), heard, status);

function heard(message) {
  setClock(message.now);
  admin = message.admin ?? false;
  if (message.whole) {
    parts = new Map();
    proxies = new Map();
    rows = new Map();
    dirty = new Set(["meshes", "mesh", "trust", "services", "refusals", "proxies", "rows"]);
  }
  for (const [key, value] of Object.entries(message.parts ?? {})) take(key, value);
  if (dirty.size) requestAnimationFrame(draw);
}

function take(key, value) {
  const put = (map, k) => (value === null ? map.delete(k) : map.set(k, value));
  if (key.startsWith("proxy:")) {
    put(proxies, key.slice(6));
    dirty.add("proxies");
  } else if (key.startsWith("row:")) {
    put(rows, key.slice(4));
    dirty.add("rows");
  } else {
    put(parts, key);
    dirty.add(key);
  }
}

function draw() {
  const now = dirty;
  dirty = new Set();
  const any = (...keys) => keys.some((k) => now.has(k));
  const mesh = parts.get("mesh"), all = [...proxies.values()];
  if (!mesh) return;
  document.title = `${mesh.name} · Koguma`;
  if (any("meshes", "mesh")) showMeshes(at("meshes"), parts.get("meshes"), mesh.name);
  if (any("meshes", "mesh", "proxies")) showMesh(at("mesh"), parts.get("meshes"), mesh, all);
  document.body.classList.toggle("nothing", !mesh.exists);
  if (any("services", "rows", "proxies", "mesh")) matrix.show(parts.get("services"), rows, away(all), mesh.more ?? 0, filtered);
  document.body.classList.toggle("alone", all.length === 0);
  if (any("proxies")) list.show(mesh.name, all, filtered);
  if (any("trust")) showTrust(at("trust"), parts.get("trust"));
  if (any("refusals")) showRefusals(at("refusals"), admin, parts.get("refusals") ?? []);
  if (any("services", "rows", "proxies", "mesh", "trust")) explanation.changed();
}

// away are the services of which no proxy is connected.
function away(all) {
  const there = new Set(), services = new Set();
  for (const p of all) {
    for (const s of p.services) {
      services.add(s);
      if (p.condition !== "offline" && p.condition !== "out") there.add(s);
    }
  }
  return new Set([...services].filter((s) => !there.has(s)));
}

// filtered reports whether a name has one of the words that were typed.
function filtered(text) {
  const words = at("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  return words.length === 0 || words.some((w) => text.toLowerCase().includes(w));
}

at("filter").addEventListener("input", () => {
  for (const key of ["services", "proxies"]) dirty.add(key);
  requestAnimationFrame(draw);
});

function status(live, since) {
  const e = at("live");
  const state = live ? "live" : since ? "stale" : "waiting";
  if (e.dataset.live === state) return;
  e.dataset.live = state;
  document.body.classList.toggle("stale", state === "stale");
  e.textContent = { live: "Live", stale: `Not connected: this is as of ${clock(since)}; trying again`, waiting: "No answer, or too many pages are open; trying again" }[state];
}
