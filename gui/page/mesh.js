// The mesh as a whole, and the way to the others.

import { h, fill, name, copyable } from "./dom.js";
import { summary } from "./proxies.js";

const modes = {
  OFF: "mTLS is off",
  PERMISSIVE: "mTLS, and plaintext as well",
  STRICT: "mTLS only",
};

export function showMesh(root, meshes, mesh, proxies) {
  if (!mesh.exists) {
    fill(root, h("h1", {}, mesh.name ? ["No mesh ", name(mesh.name)] : "No meshes yet"),
      h("p", {}, meshes.length ? "Choose one of those above, or make it:" : "Make the first one:"),
      copyable(`kumactl apply -f - <<'EOF'\ntype: Mesh\nname: ${mesh.name || "default"}\nEOF`, "the command that makes it"));
    return;
  }
  fill(root,
    h("h1", {}, name(mesh.name)),
    h("p", { class: "facts" },
      h("span", { class: `mode ${mesh.mode.toLowerCase()}` }, modes[mesh.mode] ?? mesh.mode),
      mesh.ca ? h("span", {}, "CA ", name(mesh.ca)) : null,
      h("span", {}, mesh.rules === 1 ? "1 permission" : `${mesh.rules || "no"} permissions`),
      h("span", {}, proxies.length === 1 ? "1 proxy" : `${proxies.length || "no"} proxies`),
      summary(proxies)),
    (mesh.silent ?? []).map((text) => h("p", { class: "warning" }, h("bdi", {}, text))),
    mesh.mode === "OFF" ? h("details", { class: "hint" },
      h("summary", {}, "Everybody reaches everybody, in plaintext. How to turn mTLS on"),
      h("p", {}, "Nobody gets in without a permission from then on; begin with ", h("code", {}, "mode: PERMISSIVE"), " where there is traffic already."),
      copyable(`kumactl apply -f - <<'EOF'\ntype: Mesh\nname: ${mesh.name}\nmtls:\n  enabledBackend: ca-1\n  backends:\n    - name: ca-1\n      type: builtin\nEOF`, "the command that turns mTLS on")) : null);
}

export function showMeshes(root, meshes, current) {
  fill(root, ...meshes.map((m) =>
    h("li", {}, h("a", { href: `/gui?mesh=${encodeURIComponent(m)}`, "aria-current": m === current ? "page" : null }, name(m)))));
}
