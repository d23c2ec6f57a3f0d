// Why one service reaches another, or does not: what GET /meshes/{mesh}/connections says, in words that it has chosen.

import { h, fill, name, copyable } from "./dom.js";

export class Explanation {
  #root; #rule; #mesh = ""; #pair = null; #asked = 0; #timer = 0;

  // rule(from, to) is what the permissions say, in a word.
  constructor(root, rule) {
    this.#root = root;
    this.#rule = rule;
    this.#rest();
  }

  #rest() {
    fill(this.#root, h("p", { class: "quiet" },
      "Choose a cell to see why, and what would change it. With the keyboard: Tab to the matrix, arrow keys, Enter."));
  }

  // ask explains a pair, and goes on explaining it while things change.
  ask(mesh, from, to) {
    this.#mesh = mesh;
    this.#pair = [from, to];
    this.#fetch();
  }

  // changed has it asked again, once a second at most.
  changed() {
    if (!this.#pair || this.#timer) return;
    this.#timer = setTimeout(() => { this.#timer = 0; this.#fetch(); }, Math.max(0, this.#asked + 1000 - Date.now()));
  }

  async #fetch() {
    const [from, to] = this.#pair;
    const asked = this.#asked = Date.now();
    let body;
    try {
      const query = new URLSearchParams({ from: `service:${from}`, to: `service:${to}` });
      const answer = await fetch(`/meshes/${encodeURIComponent(this.#mesh)}/connections?${query}`);
      body = await answer.json();
      if (!answer.ok) throw new Error(body.detail ?? answer.statusText);
    } catch (error) {
      body = { verdict: "denied", failed: `It cannot be explained now: ${error.message}`, pairs: [] };
    }
    if (asked !== this.#asked) return; // something else was asked since
    this.#show(from, to, body);
  }

  #show(from, to, c) {
    const rule = this.#rule(from, to), text = JSON.stringify([rule, c]);
    if (this.#root.dataset.shown === `${from}\n${to}\n${text}`) return; // or else a reader would hear it again
    const words = { allowed: "allowed", partly: "partly allowed", denied: "denied" };
    fill(this.#root,
      h("h3", {}, name(from), " to ", name(to)),
      c.failed ? h("p", { class: "trouble" }, c.failed)
        : h("p", { class: `verdict ${c.verdict}` }, h("i", { "aria-hidden": "true" }), h("b", {}, words[c.verdict] ?? c.verdict), " now",
          rule && rule !== words[c.verdict] ? `, although by the permissions it is ${rule}` : null),
      c.cause ? cause(c.cause) : null,
      together(c.pairs ?? []).map(group),
      c.more ? h("p", { class: "quiet" }, `and ${c.more} more pairs of proxies`) : null,
      (c.notes ?? []).map((note) => h("p", { class: "quiet" }, note)),
    );
    this.#root.dataset.shown = `${from}\n${to}\n${text}`;
  }
}

// together puts pairs of proxies that go the same way, for the same reason, under one heading.
function together(pairs) {
  const groups = new Map();
  for (const p of pairs) {
    const key = JSON.stringify([p.allowed, p.cause.code, p.cause.next, p.cause.permission, p.cause.permission ? "" : p.cause.why]);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(p);
  }
  return [...groups.values()];
}

function group(pairs) {
  const first = pairs[0];
  const ways = pairs.slice(0, 4).map((p) => [name(p.from), " to ", name(`${p.to}:${p.port}`)]);
  return h("div", { class: "ways" },
    h("p", { class: "who" }, h("span", { class: first.allowed ? "allowed" : "denied" }, h("i", { "aria-hidden": "true" }), first.allowed ? "allowed" : "denied"), " ",
      ways.flatMap((w, i) => (i ? [", ", ...w] : w)), pairs.length > 4 ? ` and ${pairs.length - 4} more` : null),
    cause(first.cause),
    (first.warnings ?? []).map((w) => h("p", { class: "warning" }, w.why, w.next ? `. To do: ${w.next}` : null)));
}

function cause(c) {
  return h("div", { class: "cause" },
    h("p", {}, `${c.why}.`),
    c.next ? h("p", { class: "next" }, h("b", {}, "Next: "), c.next) : null,
    c.permission ? copyable(`kumactl apply -f - <<'EOF'\n${c.permission}EOF`, "the permission, with the command that applies it") : null,
    h("p", { class: "code" }, c.code));
}
