// What the control plane has refused. Nothing of this is to be believed but the address and the time: who is refused may say anything.

import { h, fill } from "./dom.js";
import { since } from "./clock.js";

export function showRefusals(root, admin, refusals) {
  const denied = h("p", { class: "quiet" }, "What Envoys deny, their agents know: each has it in its log, and counts it in ",
    h("code", {}, "kuma_dp_denied_connections_total"), ".");
  if (!admin) {
    fill(root, h("p", {}, "Only administrators see what was refused. Open this page on the machine of the control plane as ",
      h("code", {}, "http://localhost:5681/gui"), ", or with a client certificate."), denied);
    return;
  }
  if (refusals.length === 0) {
    fill(root, h("p", {}, "Nothing since this control plane was started."), denied);
    return;
  }
  fill(root, h("table", { class: "refusals" },
    h("thead", {}, h("tr", {}, ["Ago", "Said to be", "Why"].map((t) => h("th", { scope: "col" }, t)))),
    h("tbody", {}, together(refusals).slice(0, 12).map((r) => h("tr", {},
      h("td", { "data-label": "Ago" }, since(r.time)),
      h("td", { "data-label": "Said to be" }, h("bdi", { class: "name" }, r.node || "nobody"), h("span", { class: "peer" }, `${r.verb} from ${host(r.peer)}`)),
      h("td", { "data-label": "Why" }, h("b", { class: "check" }, r.check), h("p", { class: "why" }, h("bdi", {}, r.reason)),
        h("span", { class: "quiet" }, [r.count > 1 ? `${r.count} times` : "", r.more ? `${r.more} more from this address` : ""].filter(Boolean).join(", "))))))), denied);
}

const host = (peer) => peer.replace(/:\d+$/, "");

// together counts those that differ in nothing but their time, the newest first.
function together(refusals) {
  const groups = new Map();
  for (const r of refusals) {
    const key = JSON.stringify([r.verb, host(r.peer), r.node, r.check, r.reason]);
    const group = groups.get(key);
    if (!group) groups.set(key, { ...r, count: 1 });
    else {
      group.count++;
      group.more = (group.more ?? 0) + (r.more ?? 0);
    }
  }
  return [...groups.values()];
}
