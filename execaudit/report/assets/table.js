// The table: what matches, in any order.
let tableRows = new Int32Array(0);
let tableList = null;
const order = { by: "time", backward: DATA.reverse };
const KEYS = {
  time: null,
  user: (row) => userOf(row),
  pid: (row) => get.pid(row),
  status: (row) => get.status(row),
  took: (row) => get.duration_ns(row),
  command: (row) => get.command(row),
};
const orders = new Map([["time", byTime]]);

// Returns all rows by a column, made once.
function ordered(name) {
  if (!orders.has(name)) {
    const key = KEYS[name];
    const keys = Array.from({ length: ROWS }, (_, row) => key(row));
    const lower = (a, b) => (a === b ? 0 : a === null ? -1 : b === null ? 1 : a < b ? -1 : 1);
    orders.set(name, Int32Array.from(byTime).sort((a, b) => lower(keys[a], keys[b]) || starts[a] - starts[b] || a - b));
  }
  return orders.get(name);
}

function layoutTable(active = -1) {
  const found = new Int32Array(shownCount);
  let count = 0;
  for (const row of ordered(order.by)) if (shownMask[row]) found[count++] = row;
  tableRows = order.backward ? found.reverse() : found;
  tableList.set(count, active < 0 ? -1 : tableRows.indexOf(active));
}

function sortTable(name) {
  order.backward = order.by === name ? !order.backward : name === "took";
  order.by = name;
  markOrder();
  tableList.scrollTo(0);
  layoutTable();
}

function markOrder() {
  tableList.columns.forEach((column, at) => {
    const cell = tableList.head.children[at];
    cell.setAttribute("aria-sort", column.sort !== order.by ? "none" : order.backward ? "descending" : "ascending");
  });
}

function makeTable() {
  tableList = new Rows(byId("table"), {
    role: "grid",
    label: "Table of execs. Enter opens the record.",
    columns: ["Time", "User", "PID", "Status", "Took", "Command"].map((title) => ({ key: title.toLowerCase(), title, sort: title.toLowerCase() })),
    fill: (made, index) => {
      fillCells(made, tableRows[index]);
      fillCommand(made.cells.command, tableRows[index]);
    },
    open: (index) => openDetails(tableRows[index]),
    sort: sortTable,
  });
  markOrder();
}
