// Calls what is to be done when an element gets another width; its height changes with what it shows.
function onWidth(node, act) {
  let before = node.clientWidth;
  new ResizeObserver(([{ contentRect }]) => {
    if (Math.round(contentRect.width) === Math.round(before)) return;
    before = contentRect.width;
    act();
  }).observe(node);
}

// A list of many rows, of which only those are in the page that can be seen. Arrow keys choose a row.
class Rows {
  // columns: [{key, title, sort}]; fill(cells, index) writes a row; open(index) is called for a chosen one.
  constructor(host, { role, label, columns, fill, open, keys = () => false, sort = null }) {
    this.host = host;
    this.columns = columns;
    this.fill = fill;
    this.open = open;
    this.keys = keys;
    this.count = 0;
    this.active = -1;
    this.pool = [];
    this.top = 0;
    this.head = element("div", { role: "row", class: "row head-row", "aria-rowindex": "1" });
    for (const column of columns) {
      const cell = element("div", { role: "columnheader", class: "cell " + column.key });
      if (sort && column.sort) cell.append(element("button", { type: "button", text: column.title, on: { click: () => sort(column.sort) } }));
      else cell.textContent = column.title;
      this.head.append(cell);
    }
    this.space = element("div", { role: "rowgroup", class: "space" });
    // It scrolls itself: who has no mouse can reach it, and its head stays where it is.
    this.grid = element("div", { role, class: "grid", tabindex: "0", "aria-label": label, "aria-colcount": String(columns.length) },
      element("div", { role: "rowgroup", class: "head-group" }, this.head), this.space);
    this.empty = element("p", { class: "empty", text: "No exec matches." });
    this.empty.hidden = true;
    host.append(this.grid, this.empty);
    this.grid.addEventListener("scroll", () => {
      this.top = this.grid.scrollTop;
      this.draw();
    }, { passive: true });
    this.grid.addEventListener("keydown", (event) => this.key(event));
    this.grid.addEventListener("click", (event) => this.click(event));
    onWidth(host, () => this.measure());
    this.measure();
  }

  // What is asked of the browser makes it lay out the page, so it is asked seldom.
  measure() {
    this.rowHeight = parseFloat(getComputedStyle(this.host).getPropertyValue("--row")) || 28;
    this.headHeight = this.head.offsetHeight;
    this.draw();
  }

  height() {
    return this.rowHeight;
  }

  scrollTo(top) {
    this.grid.scrollTop = this.top = Math.max(0, top);
  }

  // Shows so many rows; the chosen one is kept if `active` says where it is now.
  set(count, active = -1) {
    this.count = count;
    this.active = active;
    this.empty.hidden = count > 0;
    this.grid.setAttribute("aria-rowcount", String(count + 1));
    this.draw();
  }

  draw() {
    const height = this.height();
    const total = this.count * height;
    this.space.style.height = `${total}px`;
    // Few rows need no room for many.
    this.grid.style.maxHeight = `max(12rem, min(60vh, ${total + this.headHeight + 2}px))`;
    const visible = Math.ceil(Math.max(200, window.innerHeight * 0.6) / height) + 1;
    const first = Math.max(0, Math.min(Math.floor(this.top / height), this.count - visible) - 4);
    const last = Math.min(this.count, first + visible + 8);
    while (this.pool.length < last - first) this.pool.push(this.make());
    this.pool.forEach((made, at) => {
      const index = first + at;
      made.line.hidden = index >= last;
      if (index >= last) return;
      made.index = index;
      made.line.style.transform = `translateY(${index * height}px)`;
      made.line.setAttribute("aria-rowindex", String(index + 2));
      made.line.id = `${this.host.id}-${index}`;
      made.line.classList.toggle("active", index === this.active);
      made.line.setAttribute("aria-selected", String(index === this.active));
      this.fill(made, index);
    });
    if (this.active >= first && this.active < last) this.grid.setAttribute("aria-activedescendant", `${this.host.id}-${this.active}`);
    else this.grid.removeAttribute("aria-activedescendant");
  }

  make() {
    const line = element("div", { role: "row", class: "row" });
    const cells = {};
    for (const column of this.columns) line.append((cells[column.key] = element("div", { role: "gridcell", class: "cell " + column.key })));
    this.space.append(line);
    const made = { line, cells, index: -1 };
    line.made = made;
    return made;
  }

  click(event) {
    const line = event.target.closest(".row");
    if (!line || !line.made) return;
    this.active = line.made.index;
    if (!(event.target.closest(".twisty") && this.keys("toggle", this.active))) this.open(this.active);
    this.draw();
  }

  key(event) {
    if (event.target !== this.grid || event.ctrlKey || event.metaKey || event.altKey || !this.count) return;
    const page = Math.max(1, Math.floor(this.grid.clientHeight / this.height()) - 1);
    const moves = { ArrowDown: this.active + 1, ArrowUp: this.active - 1, PageDown: this.active + page, PageUp: this.active - page, Home: 0, End: this.count - 1 };
    if (event.key in moves) this.choose(Math.min(this.count - 1, Math.max(0, moves[event.key])));
    else if ((event.key === "Enter" || event.key === " ") && this.active >= 0) this.open(this.active);
    else if (!(this.active >= 0 && this.keys(event.key, this.active))) return;
    event.preventDefault();
    this.draw();
  }

  choose(index) {
    this.active = index;
    const height = this.height(), top = index * height, { scrollTop, clientHeight } = this.grid;
    const room = clientHeight - this.headHeight;
    if (top < scrollTop) this.scrollTo(top);
    else if (top + height > scrollTop + room) this.scrollTo(top + height - room);
    this.draw();
  }
}

function fillCells(made, row) {
  const { cells, line } = made;
  cells.time.textContent = timeOf(row);
  cells.user.textContent = printable(userOf(row));
  cells.user.title = get.euid(row) !== null && get.euid(row) !== get.uid(row) ? `runs with the rights of uid ${get.euid(row)}` : "";
  cells.pid.textContent = get.pid(row);
  cells.status.textContent = printable(get.status(row));
  cells.took.textContent = durationText(get.duration_ns(row));
  line.classList.toggle("wrong", isWrong[row] === 1);
  line.classList.toggle("is-marked", isMarked[row] === 1);
  line.classList.toggle("opened", row === openedRow);
}
