// The proxies, those in trouble first.

import { h, fill, name, copyable } from "./dom.js";
import { ends, life, since } from "./clock.js";

const order = ["out", "refused", "behind", "offline", "online"];
const words = { out: "put out", refused: "refuses its configuration", behind: "lacks something", offline: "offline", online: "online" };
const day = 86_400_000, step = 100;

export class Proxies {
  #root; #rows = new Map(); #most = step; #body; #more;

  constructor(root) { this.#root = root; }

  show(mesh, proxies, filtered) {
    if (proxies.length === 0) {
      this.#body = null;
      this.#rows.clear();
      fill(this.#root, none(mesh));
      return;
    }
    if (!this.#body) this.#draw();
    const all = proxies.filter((p) => filtered(p.name) || p.services.some(filtered));
    all.sort((a, b) => order.indexOf(a.condition) - order.indexOf(b.condition) || (a.name < b.name ? -1 : 1));
    const shown = all.slice(0, this.#most);
    const rows = new Map(shown.map((p) => {
      const old = this.#rows.get(p.name);
      return [p.name, old?.proxy === p ? old : { proxy: p, element: row(p) }];
    }));
    this.#rows = rows;
    const elements = [...rows.values()].map((r) => r.element);
    if (elements.length !== this.#body.children.length || elements.some((e, i) => e !== this.#body.children[i])) fill(this.#body, ...elements);
    this.#more.hidden = all.length <= this.#most && all.length > 0;
    fill(this.#more, all.length === 0 ? h("p", { class: "quiet" }, "None has that in its name, or stands for such a service.")
      : h("button", { type: "button", onclick: () => { this.#most += step; this.show(mesh, proxies, filtered); } }, `Show more of ${all.length}`));
  }

  #draw() {
    this.#body = h("tbody");
    this.#more = h("div", { class: "more" });
    fill(this.#root, h("table", { class: "proxies" },
      h("thead", {}, h("tr", {}, ["Proxy", "State", "Certificate ends in", "Token ends in"].map((t) => h("th", { scope: "col" }, t)))),
      this.#body), this.#more);
  }
}

// summary counts the proxies by condition, the worst first.
export function summary(proxies) {
  return order.map((c) => [c, proxies.filter((p) => p.condition === c).length]).filter(([, n]) => n > 0)
    .map(([c, n]) => h("span", { class: `state ${c}` }, h("i", { "aria-hidden": "true" }), `${n} ${words[c]}`));
}

function row(p) {
  const services = p.services.filter((s) => s !== p.name);
  return h("tr", {},
    h("th", { scope: "row" }, name(p.name), services.length ? h("span", { class: "services" }, services.map((s, i) => [i ? ", " : null, name(s)])) : null),
    h("td", { "data-label": "State" }, h("span", { class: `state ${p.condition}` }, h("i", { "aria-hidden": "true" }), words[p.condition]),
      p.since ? h("span", { class: "quiet" }, ["refused", "behind"].includes(p.condition) ? " connected for " : " for ", since(p.since)) : null,
      p.why ? h("p", { class: "why" }, h("bdi", {}, p.why)) : null),
    h("td", { "data-label": "Certificate" }, p.certificate ? [
      ends(p.certificate.ends, (new Date(p.certificate.ends) - new Date(p.certificate.made)) / 8),
      h("span", { class: "quiet by" }, " by ", name(p.certificate.backend)), life(p.certificate.made, p.certificate.ends)] : h("span", { class: "quiet" }, "none")),
    h("td", { "data-label": "Token" }, p.token ? p.token.fault ? h("p", { class: "trouble" }, h("bdi", {}, p.token.fault)) : ends(p.token.ends, day)
      : h("span", { class: "quiet" }, p.condition === "online" ? "none is asked for" : "not seen")));
}

function none(mesh) {
  return h("div", { class: "empty" },
    h("p", {}, "No proxies yet. Make a token for one, and start its agent beside its Envoy:"),
    copyable(`kumactl generate dataplane-token --mesh ${mesh} --name web-1 \\
  --tag kuma.io/service=web --valid-for 720h > web-1.token
kuma-dp run --cp-address=https://${location.hostname}:5678 \\
  --dataplane-token-file=web-1.token --dataplane-file=web-1.yaml`, "both commands"));
}
