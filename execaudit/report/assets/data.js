"use strict";
// The data: a record for each exec, column by column (see columns.py), as numbers and functions of a row.
const DATA = JSON.parse(document.getElementById("data").textContent);
const ROWS = DATA.rows;

function columnOf(name) {
  const column = DATA.columns[name];
  if ("all" in column) return () => column.all;
  if ("each" in column) return (row) => column.each[row];
  return (row) => column.values[column.at[row]];
}

const get = Object.create(null);
for (const name of Object.keys(DATA.columns)) get[name] = columnOf(name);

// An id of an exec that is here is stored as its row.
function idOf(value) {
  return typeof value === "number" ? get.id(value) : value;
}

function argvOf(row) {
  const argv = get.argv(row);
  return argv === 0 ? get.command(row).split(" ") : argv;
}

// Returns the record as `execaudit show --format json` has it.
function recordOf(row) {
  const record = {};
  for (const name of DATA.names) {
    let value = get[name](row);
    if (name === "argv") value = argvOf(row);
    else if (name === "parent_id" || name === "replaced_by") value = idOf(value);
    else if (name === "argv_base64" && value === null) continue;
    record[name] = value;
  }
  return record;
}

// Seconds since 1970. A number of 53 bits keeps less than a microsecond of these: for order and place only.
function secondsOf(text) {
  return Date.parse(text.slice(0, 19) + "Z") / 1000 + Number("0" + text.slice(19, -1));
}

const starts = new Float64Array(ROWS);
const ends = new Float64Array(ROWS);
const parents = new Int32Array(ROWS).fill(-1);
const firstChild = new Int32Array(ROWS).fill(-1);
const nextSibling = new Int32Array(ROWS).fill(-1);
const isContext = new Uint8Array(ROWS);
const isOnward = new Uint8Array(ROWS);
const isMarked = new Uint8Array(ROWS);
const isUnusual = new Uint8Array(ROWS);
const isWrong = new Uint8Array(ROWS);
const hitsOf = new Map();
const depths = new Int32Array(ROWS);

function readRows() {
  const lastChild = new Int32Array(ROWS).fill(-1);
  for (const row of DATA.context) isContext[row] = 1;
  for (const row of DATA.onward) isOnward[row] = 1;
  for (const row of DATA.marked) isMarked[row] = 1;
  for (const hit of DATA.hits) {
    if (!hitsOf.has(hit.row)) hitsOf.set(hit.row, []);
    hitsOf.get(hit.row).push(hit);
  }
  for (let row = 0; row < ROWS; row++) {
    starts[row] = secondsOf(get.time(row));
    const took = get.duration_ns(row);
    ends[row] = took === null ? starts[row] : starts[row] + took / 1e9;
    isWrong[row] = get.is_wrong(row);
    isUnusual[row] = get.marks(row).replace(/container|chroot|,/g, "") || get.is_disguised(row) ? 1 : 0;
    const parent = get.parent_id(row);
    // A parent was recorded before; in damaged data a circle must not hang the page.
    if (typeof parent !== "number" || parent >= row) continue;
    parents[row] = parent;
    depths[row] = depths[parent] + 1;
    if (lastChild[parent] < 0) firstChild[parent] = row;
    else nextSibling[lastChild[parent]] = row;
    lastChild[parent] = row;
  }
}
readRows();

// All rows in the order of time; those of the same time as recorded.
const byTime = Int32Array.from({ length: ROWS }, (_, row) => row).sort((a, b) => starts[a] - starts[b] || a - b);

function wholeRange() {
  const times = [];
  for (const text of [DATA.from, DATA.to]) if (text !== null) times.push(secondsOf(text));
  for (const row of byTime) if (!isContext[row]) { times.push(starts[row]); break; }
  for (let at = ROWS - 1; at >= 0; at--) if (!isContext[byTime[at]]) { times.push(starts[byTime[at]]); break; }
  if (!times.length) times.push(0);
  let from = Math.min(...times), to = Math.max(...times);
  // What lies on an edge is to be seen.
  if (DATA.from === null) from -= (to - from) / 100;
  if (DATA.to === null) to += (to - from) / 100;
  return to - from > 0.01 ? [from, to] : [from - 0.5, to + 0.5];
}
const WHOLE = wholeRange();
