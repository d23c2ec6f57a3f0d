// Whom the mesh trusts, and how far a rotation has come.

import { h, fill, name } from "./dom.js";
import { ends, since } from "./clock.js";

const stages = [
  ["trust-both", "Trust both", "The new CA is trusted beside the old one, which still signs."],
  ["issue", "Issue", "The new CA signs; the old one is trusted while certificates of it live."],
  ["drop", "Drop", "Only the new CA is trusted, and not everybody has taken that yet."],
];
const month = 30 * 86_400_000;

export function showTrust(root, t) {
  if (!t?.stage) {
    fill(root, h("p", { class: "quiet" }, "No CA: mTLS was never on in this mesh."));
    return;
  }
  fill(root,
    t.fault ? h("p", { class: "trouble" }, h("bdi", {}, t.fault)) : null,
    t.stage === "settled"
      ? h("p", {}, h("span", { class: "state online" }, h("i", { "aria-hidden": "true" }), "settled"), " ", name(t.issuing), " signs, and no rotation is under way.")
      : rotation(t),
    h("table", { class: "authorities" },
      h("thead", {}, h("tr", {}, ["CA", "Does", "Ends in"].map((x) => h("th", { scope: "col" }, x)))),
      h("tbody", {}, t.authorities.map((a) => h("tr", {},
        h("th", { scope: "row" }, name(a.backend), h("span", { class: "fingerprint", title: a.fingerprint }, a.fingerprint.slice(0, 16))),
        h("td", { "data-label": "Does" }, a.issuing ? "signs, is trusted" : "is trusted"),
        h("td", { "data-label": "Ends in" }, ends(a.notAfter, month)))))),
  );
}

function rotation(t) {
  const at = stages.findIndex(([stage]) => stage === t.stage);
  return [
    h("p", {}, "Going", t.from ? [" from ", name(t.from)] : null, " to ", name(t.enabled ?? "no CA"), ": ", h("b", {}, stages[at]?.[1] ?? t.stage), " for ", since(t.since), "."),
    h("ol", { class: "stages", "aria-label": "Stages of the rotation" }, stages.map(([stage, title, what], i) =>
      h("li", { class: i < at ? "done" : i === at ? "now" : "next", "aria-current": i === at ? "step" : null },
        h("b", {}, title), h("span", {}, i < at ? "done" : i === at ? "now" : "to come"), i === at ? h("p", {}, what) : null))),
    t.waitsFor.length
      ? [h("p", { class: "quiet" }, "It waits for"), h("ul", { class: "waits" }, t.waitsFor.slice(0, 8).map((w) => h("li", {},
          w.proxy ? [name(w.proxy), ": "] : null, h("bdi", {}, w.why), w.until ? [", for ", ends(w.until, 0), " at most"] : null))),
        t.waitsFor.length > 8 ? h("p", { class: "quiet" }, `and ${t.waitsFor.length - 8} more`) : null]
      : null,
  ];
}
