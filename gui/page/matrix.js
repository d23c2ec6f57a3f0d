// The matrix of who may talk to whom: a row for each service that dials, a column for each that is dialled.

import { h, fill, name } from "./dom.js";

// Nobody reads more at once, and browsers grow slow. The filter leads to the others.
const most = 60;

const words = { a: "allowed", p: "partly allowed", d: "denied", n: "nobody there" };
const classes = { a: "allowed", p: "partly", d: "denied", n: "nobody" };

export class Matrix {
  #root; #choose; #shown = []; #cells = new Map(); #at = [0, 0]; #heads = new Map(); #chosen = "";

  // choose(from, to) is called when a cell is.
  constructor(root, choose) {
    this.#root = root;
    this.#choose = choose;
  }

  // show draws the services, and the cells between them; rows are by the name of the source. away are the services of which
  // no proxy is connected.
  show(services, rows, away, more, filtered) {
    const shown = services.filter(filtered).slice(0, most);
    const left = services.filter(filtered).length - shown.length + more;
    if (shown.join(" ") !== this.#shown.join(" ")) this.#draw(shown);
    const at = shown.map((s) => services.indexOf(s));
    shown.forEach((from, i) => shown.forEach((to, j) => this.#set(i, j, rows.get(from)?.[at[j]] ?? "n")));
    for (const [key, head] of this.#heads) head.classList.toggle("away", away.has(key.slice(2)));
    this.#root.querySelector(".more")?.remove();
    if (left > 0) this.#root.append(h("p", { class: "more" }, `${left} more services are not shown: filter by name, or ask kumactl inspect connection`));
  }

  #draw(shown) {
    const focused = this.#root.contains(document.activeElement);
    const [from, to] = [this.#shown[this.#at[0]], this.#shown[this.#at[1]]];
    this.#shown = shown;
    this.#cells.clear();
    this.#heads.clear();
    this.#at = [Math.max(0, shown.indexOf(from)), Math.max(0, shown.indexOf(to))];
    if (shown.length === 0) {
      fill(this.#root);
      return;
    }
    const columns = shown.map((s, j) => {
      const head = h("th", { scope: "col", role: "columnheader" }, h("span", {}, name(s)));
      this.#heads.set(`c ${s}`, head);
      return head;
    });
    const table = h("table", { role: "grid", "aria-label": "Who may talk to whom. Rows are services that dial, columns are services that are dialled." },
      h("thead", {}, h("tr", { role: "row" }, h("td", { class: "corner" }, h("span", { class: "from" }, "from"), h("span", { class: "to" }, "to")), columns)),
      h("tbody", {}, shown.map((s, i) => {
        const head = h("th", { scope: "row", role: "rowheader" }, name(s));
        this.#heads.set(`r ${s}`, head);
        return h("tr", { role: "row" }, head, shown.map((_, j) => this.#cell(i, j)));
      })));
    table.addEventListener("keydown", (event) => this.#key(event));
    table.addEventListener("click", (event) => this.#click(event));
    for (const kind of ["mouseover", "focusin"]) table.addEventListener(kind, (event) => this.#point(event));
    table.addEventListener("mouseleave", () => this.#point(null));
    fill(this.#root, h("div", { class: "scroll" }, table), legend());
    this.#roam(this.#at[0], this.#at[1], focused);
    this.choose(this.#chosen);
  }

  #cell(i, j) {
    const cell = h("td", { role: "gridcell", tabindex: "-1", "data-i": i, "data-j": j }, h("i", { "aria-hidden": "true" }));
    this.#cells.set(`${i} ${j}`, cell);
    return cell;
  }

  #set(i, j, code) {
    const cell = this.#cells.get(`${i} ${j}`);
    if (cell.dataset.code === code) return;
    const before = cell.dataset.code;
    cell.dataset.code = code;
    cell.setAttribute("aria-label", `${this.#shown[i]} to ${this.#shown[j]}: ${words[code]}`);
    cell.classList.remove(...Object.values(classes), "changed");
    cell.classList.add(classes[code]);
    if (before) {
      void cell.offsetWidth; // or else the browser would not begin the animation anew
      cell.classList.add("changed");
    }
  }

  // rule is what the matrix says of a pair, "" where it is not shown.
  rule(from, to) {
    return words[this.#cells.get(`${this.#shown.indexOf(from)} ${this.#shown.indexOf(to)}`)?.dataset.code] ?? "";
  }

  // choose marks the cell of a pair, "from\nto".
  choose(pair) {
    this.#chosen = pair;
    for (const cell of this.#cells.values()) {
      const chosen = `${this.#shown[cell.dataset.i]}\n${this.#shown[cell.dataset.j]}` === pair;
      if (chosen || cell.hasAttribute("aria-selected")) cell.setAttribute("aria-selected", chosen);
    }
  }

  // roam has one cell be the one that the tab key leads to.
  #roam(i, j, focus) {
    this.#cells.get(`${this.#at[0]} ${this.#at[1]}`)?.setAttribute("tabindex", "-1");
    this.#at = [i, j];
    const cell = this.#cells.get(`${i} ${j}`);
    cell.setAttribute("tabindex", "0");
    if (focus) cell.focus();
  }

  #key(event) {
    let [i, j] = this.#at;
    const last = this.#shown.length - 1;
    switch (event.key) {
      case "ArrowUp": i--; break;
      case "ArrowDown": i++; break;
      case "ArrowLeft": j--; break;
      case "ArrowRight": j++; break;
      case "PageUp": i -= 10; break;
      case "PageDown": i += 10; break;
      case "Home": j = 0; if (event.ctrlKey) i = 0; break;
      case "End": j = last; if (event.ctrlKey) i = last; break;
      case "Enter": case " ": this.#choose(this.#shown[i], this.#shown[j]); break;
      default: return;
    }
    event.preventDefault();
    const within = (n) => Math.min(last, Math.max(0, n));
    this.#roam(within(i), within(j), true);
  }

  #click(event) {
    const cell = event.target.closest("td[data-i]");
    if (!cell) return;
    const [i, j] = [Number(cell.dataset.i), Number(cell.dataset.j)];
    this.#roam(i, j, true);
    this.#choose(this.#shown[i], this.#shown[j]);
  }

  // point has the names of both sides stand out.
  #point(event) {
    const cell = event?.target.closest("td[data-i]");
    for (const head of this.#heads.values()) head.classList.remove("here");
    if (!cell) return;
    this.#heads.get(`r ${this.#shown[cell.dataset.i]}`)?.classList.add("here");
    this.#heads.get(`c ${this.#shown[cell.dataset.j]}`)?.classList.add("here");
  }
}

const legend = () => h("p", { class: "legend" },
  Object.keys(words).map((code) => h("span", { class: classes[code] }, h("i", { "aria-hidden": "true" }), words[code])));
