// How things get into the page: as text, always. There is no way from here to have any of it taken for HTML.

// h is a new element.
export function h(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else e.setAttribute(name, value === true ? "" : value);
  }
  fill(e, children);
  return e;
}

// fill has an element hold these and nothing else. What is no node becomes text; null and false become nothing.
export function fill(e, ...children) {
  e.replaceChildren(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
}

// name is a word that somebody else has chosen, kept from disturbing what stands around it.
export const name = (text) => h("bdi", { class: "name" }, text);

// copyable is text to be taken along, with a button for that.
export function copyable(text, what) {
  const pre = h("pre", { tabindex: "0" }, text);
  const button = h("button", { type: "button", onclick: () => copy(text, pre, button) }, "Copy");
  button.setAttribute("aria-label", `Copy ${what}`);
  return h("div", { class: "copyable" }, pre, button);
}

async function copy(text, pre, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch { // the browser does not let us: then by hand
    getSelection().selectAllChildren(pre);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}
