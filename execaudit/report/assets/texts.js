// Texts and elements. Only textContent is ever set, so no text can become an element.
const state = { local: false };

// What a screen would not show, or what would change the text around it: as `printable` in escaping.py.
const UNSEEN =
  /[\p{C}\p{Zl}\p{Zp}\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\u{16fe4}\u{1d159}\u{e0000}-\u{e0fff}]/gu;

function escapeOf(character) {
  const code = character.codePointAt(0);
  const short = { 9: "\\t", 10: "\\n", 13: "\\r" }[code];
  if (short) return short;
  if (code < 0x80) return "\\x" + code.toString(16).padStart(2, "0");
  return code < 0x10000 ? "\\u" + code.toString(16).padStart(4, "0") : "\\U" + code.toString(16).padStart(8, "0");
}

function printable(text) {
  return String(text).replace(UNSEEN, escapeOf);
}

function element(name, options = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(options)) {
    if (key === "text") made.textContent = printable(value);
    else if (key === "on") for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function byId(id) {
  return document.getElementById(id);
}

function two(number) {
  return String(number).padStart(2, "0");
}

// Returns a date and a time of day; UTC is what the database has.
function partsOf(seconds) {
  const moment = new Date(Math.floor(seconds) * 1000);
  const local = state.local;
  return [
    `${local ? moment.getFullYear() : moment.getUTCFullYear()}-${two((local ? moment.getMonth() : moment.getUTCMonth()) + 1)}-${two(local ? moment.getDate() : moment.getUTCDate())}`,
    `${two(local ? moment.getHours() : moment.getUTCHours())}:${two(local ? moment.getMinutes() : moment.getUTCMinutes())}:${two(local ? moment.getSeconds() : moment.getUTCSeconds())}`,
  ];
}

const daysUtc = [partsOf(WHOLE[0])[0], partsOf(WHOLE[1])[0]];
const isOneDay = daysUtc[0] === daysUtc[1];

// Returns when a row happened, to the millisecond; the day only where it is not the same for all.
function timeOf(row) {
  const [day, clock] = partsOf(starts[row]);
  const fraction = get.time(row).slice(19, 23);
  return isOneDay && day === daysUtc[0] ? clock + fraction : `${day} ${clock}${fraction}`;
}

function momentText(seconds) {
  const [day, clock] = partsOf(seconds);
  const fraction = WHOLE[1] - WHOLE[0] < 600 ? "." + String(Math.floor((seconds % 1) * 1000)).padStart(3, "0") : "";
  return isOneDay && day === daysUtc[0] ? clock + fraction : `${day} ${clock}${fraction}`;
}

function zoneName() {
  return state.local ? Intl.DateTimeFormat().resolvedOptions().timeZone || "local time" : "UTC";
}

function durationText(ns) {
  if (ns === null) return "";
  const ms = ns / 1e6;
  if (ms < 10) return `${(Math.floor(ms * 10) / 10).toFixed(1)} ms`;
  if (ms < 1000) return `${Math.floor(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${(Math.floor(seconds * 100) / 100).toFixed(2)} s`;
  const whole = Math.floor(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h${two(Math.floor(whole / 60) % 60)}m`;
  return `${Math.floor(whole / 86400)}d${two(Math.floor(whole / 3600) % 24)}h`;
}

function userOf(row) {
  const user = get.user(row), uid = get.uid(row);
  return user !== null ? user : uid === null ? "-" : String(uid);
}

function counted(number, one) {
  return `${number.toLocaleString("en")} ${one}${number === 1 ? "" : "s"}`;
}

const LEVELS = ["informational", "low", "medium", "high", "critical"];

// Fills a cell with what an exec ran: marks, the program if the command line does not say it, the command.
function fillCommand(cell, row) {
  cell.replaceChildren();
  if (isMarked[row]) cell.append(element("span", { class: "badge star", text: "marked" }));
  const hits = hitsOf.get(row);
  if (hits) {
    const level = Math.max(...hits.map((hit) => LEVELS.indexOf(hit.level)));
    const label = hits.length === 1 ? hits[0].title : `${hits.length} rules`;
    cell.append(element("span", { class: level > 2 ? "badge hit high" : "badge hit", text: label.slice(0, 60), title: printable(hits.map((hit) => hit.title).join("\n")) }));
  }
  for (const mark of get.marks(row).split(",")) if (mark) cell.append(element("span", { class: "badge mark", text: mark }));
  const program = get.program(row);
  if (program !== null) cell.append(element("span", { class: get.is_disguised(row) ? "program disguised" : "program", text: program.slice(0, 300) + ": " }));
  const command = get.command(row) || `[${get.comm(row)}]`;
  // A line of the table has room for a few hundred characters; the panel shows all.
  cell.append(element("span", { class: "words", text: command.length > 600 ? command.slice(0, 600) + "…" : command }));
}
