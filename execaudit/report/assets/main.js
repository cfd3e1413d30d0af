// Puts it all together, and draws all again when something is asked for.
const TOGGLES = [
  ["failed", "Went wrong", () => isWrong.includes(1)],
  ["unusual", "Unusual", () => isUnusual.includes(1)],
  ["marked", "Marked", () => DATA.marked.length > 0],
  ["hits", "Rule hits", () => DATA.hits.length > 0],
];
const TOGGLE_HELP = {
  failed: "The kernel refused it, or it ended with a failure",
  unusual: "It gained privileges, its file had no name, or its command line names another program",
};
const PRINTED = 300;

function update(active = -1) {
  applyFilters();
  layoutTree(active);
  layoutTable(active);
  timelineDraw();
  const all = ROWS - DATA.context.length;
  byId("count").textContent = shownCount === all ? counted(all, "exec") : `${shownCount.toLocaleString("en")} of ${counted(all, "exec")}`;
  const chip = byId("range"), range = filters.range;
  chip.hidden = !range;
  if (range) chip.textContent = `${momentText(range[0])} to ${momentText(range[1])} ×`;
}

function redraw() {
  byId("zone").setAttribute("aria-pressed", String(state.local));
  for (const list of [treeList, tableList]) {
    const cell = list.head.querySelector(".time");
    (cell.querySelector("button") || cell).textContent = `Time (${zoneName()})`;
    list.draw();
  }
  if (filters.range) update();
  else timelineDraw();
}

function makeFilters() {
  for (const [name, label, isThere] of TOGGLES) {
    if (!isThere()) continue;
    const button = element("button", { type: "button", "aria-pressed": "false", text: label, title: TOGGLE_HELP[name] });
    button.addEventListener("click", () => {
      filters[name] = !filters[name];
      button.setAttribute("aria-pressed", String(filters[name]));
      update();
    });
    byId("toggles").append(button);
  }
  makeSelect("user", "All users", userOf);
  makeSelect("host", "All hosts", get.host);
  byId("host-label").hidden = byId("host").options.length < 3;
  const search = byId("search");
  search.addEventListener("input", () => {
    filters.words = parseWords(search.value);
    update();
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("range").addEventListener("click", () => setRange(null));
  byId("clear").addEventListener("click", clearFilters);
}

function clearFilters() {
  Object.assign(filters, { words: [], failed: false, unusual: false, marked: false, hits: false, user: "", host: "", range: null });
  byId("search").value = byId("user").value = byId("host").value = "";
  for (const button of byId("toggles").children) button.setAttribute("aria-pressed", "false");
  update();
}

function makeSelect(name, all, of) {
  const counts = new Map(), select = byId(name);
  for (let row = 0; row < ROWS; row++) if (!isContext[row]) counts.set(of(row), (counts.get(of(row)) || 0) + 1);
  select.append(element("option", { value: "", text: all }));
  for (const [value, count] of [...counts].sort((a, b) => b[1] - a[1]).slice(0, 200))
    select.append(element("option", { value, text: `${value} (${count.toLocaleString("en")})` }));
  select.addEventListener("change", () => {
    filters[name] = select.value;
    update();
  });
}

const THEMES = ["light", "dark"];

function makeTools() {
  const root = document.documentElement, theme = byId("theme");
  const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const show = () => {
    theme.textContent = isDark() ? "Light" : "Dark";
    timelineDraw();
  };
  theme.addEventListener("click", () => {
    root.dataset.theme = THEMES[isDark() ? 0 : 1];
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  byId("zone").addEventListener("click", () => {
    state.local = !state.local;
    redraw();
  });
  byId("print").addEventListener("click", () => window.print());
  byId("tools").hidden = false;
  show();
}

// On paper nothing can be scrolled: the first rows of what is shown stand there whole.
function makePaper() {
  const before = { theme: undefined };
  window.addEventListener("beforeprint", () => {
    before.theme = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
    timelineDraw();
    printRows(byId("tree-print"), treeRows, (row) => "  ".repeat(Math.min(columnsOf[row], 20)) + (isOnward[row] ? "→ " : ""));
    printRows(byId("table-print"), tableRows, () => "");
  });
  window.addEventListener("afterprint", () => {
    if (before.theme === undefined) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = before.theme;
    byId("tree-print").replaceChildren();
    byId("table-print").replaceChildren();
    timelineDraw();
  });
}

function printRows(host, rows, lead) {
  const lines = [...rows.subarray(0, PRINTED)].map((row) => {
    const cell = element("td", { class: "command" }, element("span", { class: "lead-text" }));
    const words = element("span");
    fillCommand(words, row);
    cell.firstChild.textContent = lead(row);
    cell.append(words);
    return element("tr", { class: isWrong[row] ? "wrong" : "" }, element("td", { text: timeOf(row) }), element("td", { text: userOf(row) }), element("td", { text: get.pid(row) }), element("td", { text: get.status(row) }), cell);
  });
  const head = element("tr", {}, ...["Time", "User", "PID", "Status", "Command"].map((text) => element("th", { text })));
  const more = rows.length > PRINTED ? [element("p", { text: `${counted(rows.length - PRINTED, "more row")} in the file: filter before you print.` })] : [];
  host.replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines)), ...more);
}

function linkMarked() {
  for (const code of document.querySelectorAll("code[data-row]")) {
    const row = Number(code.dataset.row);
    code.replaceWith(element("button", { type: "button", class: "link mono", text: code.textContent, on: { click: () => openDetails(row) } }));
  }
}

byId("explore").hidden = false;
document.body.classList.toggle("days", ROWS > 0 && [byTime[0], byTime[ROWS - 1]].some((row) => partsOf(starts[row])[0] !== daysUtc[0]));
makeFilters();
makeTree();
makeTable();
applyFilters();
makeTimeline();
linkMarked();
makeTools();
makePaper();
update();
redraw();
const firstMarked = treeRows.findIndex((row) => isMarked[row]);
if (firstMarked > 0) treeList.scrollTo((firstMarked - 3) * treeList.height());
treeList.draw();
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeDetails();
  else if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
    event.preventDefault();
    byId("search").focus();
  }
});
window.addEventListener("hashchange", openAddressed);
try {
  openAddressed();
} catch {
  // A wrong escape in the address names no exec.
}
document.documentElement.dataset.ready = "1";
prepareSearch(0);
