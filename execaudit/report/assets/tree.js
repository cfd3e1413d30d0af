// The tree: what matches, and what led to it. Rows fold; the order is that of the history below each exec.
let treeRows = new Int32Array(0);
const isFolded = new Uint8Array(ROWS);
const inTree = new Uint8Array(ROWS);
const hasChildren = new Uint8Array(ROWS);
const below = new Int32Array(ROWS);
const columnsOf = new Int32Array(ROWS);
let treeList = null;
const STEP = 14;
const BY_USER = 1, BY_ITSELF = 2, MOST_OPEN = 2000;
let opensAll = false;

function isShut(row) {
  return isFolded[row] === BY_USER || (isFolded[row] === BY_ITSELF && !opensAll);
}

// A long tree begins with what stands out, and the way to it. What is folded so is open where something is asked for.
function foldAtFirst() {
  if (ROWS <= 100) return;
  const isNotable = (row) => isMarked[row] || isWrong[row] || isUnusual[row] || hitsOf.has(row);
  let notable = 0;
  for (let row = 0; row < ROWS; row++) notable += isNotable(row) ? 1 : 0;
  for (let row = 0; row < ROWS; row++) isFolded[row] = firstChild[row] < 0 ? 0 : notable ? BY_ITSELF : depths[row] >= 2 ? BY_ITSELF : 0;
  if (notable <= 2000) for (let row = 0; row < ROWS; row++) if (isNotable(row)) unfoldAbove(row);
}

function unfoldAbove(row) {
  for (let at = parents[row]; at >= 0; at = parents[at]) isFolded[at] = 0;
}

function layoutTree(active = -1) {
  opensAll = (isFiltered() || filters.range !== null) && shownCount <= MOST_OPEN;
  inTree.fill(0);
  hasChildren.fill(0);
  below.fill(0);
  for (let row = 0; row < ROWS; row++)
    for (let at = shownMask[row] ? row : -1; at >= 0 && !inTree[at]; at = parents[at]) inTree[at] = 1;
  for (let row = ROWS - 1; row >= 0; row--) {
    if (!inTree[row] || parents[row] < 0) continue;
    hasChildren[parents[row]] = 1;
    below[parents[row]] += below[row] + 1;
  }
  const order = new Int32Array(ROWS);
  let count = 0;
  for (let root = 0; root < ROWS; root++) {
    if (!inTree[root] || parents[root] >= 0) continue;
    let row = root;
    while (row >= 0) {
      if (inTree[row]) {
        const parent = parents[row];
        columnsOf[row] = parent < 0 ? 0 : columnsOf[parent] + (isOnward[row] ? 0 : 1);
        order[count++] = row;
      }
      if (inTree[row] && !isShut(row) && firstChild[row] >= 0) row = firstChild[row];
      else {
        while (row !== root && nextSibling[row] < 0) row = parents[row];
        row = row === root ? -1 : nextSibling[row];
      }
    }
  }
  treeRows = order.subarray(0, count);
  treeList.set(count, active < 0 ? -1 : treeRows.indexOf(active));
}

function fillTree(made, index) {
  const row = treeRows[index], { line, cells } = made;
  fillCells(made, row);
  line.classList.toggle("context", !shownMask[row]);
  line.setAttribute("aria-level", String(depths[row] + 1));
  if (hasChildren[row]) line.setAttribute("aria-expanded", String(!isShut(row)));
  else line.removeAttribute("aria-expanded");
  const most = window.innerWidth < 700 ? 6 : 24, depth = columnsOf[row];
  const lead = element("span", { class: "lead", "aria-hidden": "true" });
  lead.style.width = `${Math.min(depth, most) * STEP}px`;
  const twisty = element("span", { class: hasChildren[row] ? "twisty" : "twisty none", "aria-hidden": "true", text: hasChildren[row] ? (isShut(row) ? "▸" : "▾") : "" });
  fillCommand(cells.command, row);
  if (isShut(row) && below[row]) cells.command.append(element("span", { class: "more", text: `+${below[row].toLocaleString("en")} below` }));
  const before = [lead, twisty];
  if (depth > most) before.splice(1, 0, element("span", { class: "deep", text: `+${depth - most}` }));
  if (isOnward[row]) before.push(element("span", { class: "onward", text: "→ ", title: "the same process executed this" }));
  cells.command.prepend(...before);
}

function toggleTree(row, folded) {
  if (!hasChildren[row]) return false;
  isFolded[row] = folded ? BY_USER : 0;
  layoutTree(row);
  return true;
}

function treeKey(key, index) {
  const row = treeRows[index];
  if (key === "toggle") return toggleTree(row, !isShut(row));
  if (key === "ArrowRight") {
    if (hasChildren[row] && isShut(row)) return toggleTree(row, false);
    if (hasChildren[row]) treeList.choose(index + 1);
    return true;
  }
  if (key === "ArrowLeft") {
    if (hasChildren[row] && !isShut(row)) return toggleTree(row, true);
    const at = treeRows.indexOf(parents[row]);
    if (at >= 0) treeList.choose(at);
    return true;
  }
  return false;
}

function foldAll(folded) {
  for (let row = 0; row < ROWS; row++) isFolded[row] = folded && firstChild[row] >= 0 ? BY_USER : 0;
  layoutTree();
}

function showInTree(row) {
  // What is asked for hides it.
  if (!inTree[row]) clearFilters();
  unfoldAbove(row);
  layoutTree(row);
  if (treeList.active >= 0) treeList.choose(treeList.active);
  byId("tree").scrollIntoView({ block: "nearest" });
  treeList.grid.focus({ preventScroll: true });
}

function makeTree() {
  treeList = new Rows(byId("tree"), {
    role: "treegrid",
    label: "Tree of execs. Left and right fold and unfold, Enter opens the record.",
    columns: [
      { key: "command", title: "Command" },
      { key: "time", title: "Time" },
      { key: "user", title: "User" },
      { key: "pid", title: "PID" },
      { key: "status", title: "Status" },
      { key: "took", title: "Took" },
    ],
    fill: fillTree,
    open: (index) => openDetails(treeRows[index]),
    keys: treeKey,
  });
  byId("fold").addEventListener("click", () => foldAll(true));
  byId("unfold").addEventListener("click", () => foldAll(false));
  foldAtFirst();
}
