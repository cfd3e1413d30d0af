// The panel with everything about one exec.
let openedRow = -1;
let focusBefore = null;

function linkTo(row, text) {
  return element("button", { type: "button", class: "link", text, on: { click: () => openDetails(row) } });
}

function shortOf(row) {
  const command = get.command(row) || `[${get.comm(row)}]`;
  return command.length > 120 ? command.slice(0, 120) + "…" : command;
}

function kinOf(row) {
  const above = [], children = [];
  for (let at = parents[row]; at >= 0 && above.length < 30; at = parents[at]) above.unshift(at);
  for (let at = firstChild[row]; at >= 0 && children.length < 50; at = nextSibling[at]) children.push(at);
  return [above, children];
}

function listOf(title, rows) {
  if (!rows.length) return [];
  const items = rows.map((row) => element("li", {}, linkTo(row, `${timeOf(row)} ${userOf(row)}: ${shortOf(row)}`)));
  return [element("h4", { text: title }), element("ul", { class: "kin" }, ...items)];
}

function valueOf(name, value) {
  if (value === null) return element("dd", { class: "null", text: "null" });
  if (name === "argv") {
    const items = value.slice(0, 2000).map((word) => element("li", {}, element("code", { text: word })));
    if (value.length > 2000) items.push(element("li", { text: `… and ${value.length - 2000} more: see the JSON below` }));
    return element("dd", {}, element("ol", { start: "0", class: "argv" }, ...items));
  }
  const target = name === "parent_id" ? parents[openedRow] : name === "replaced_by" ? get.replaced_by(openedRow) : -1;
  if (typeof target === "number" && target >= 0) return element("dd", {}, linkTo(target, value));
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  const shown = element("dd", {}, element("code", { text }));
  if (name === "duration_ns") shown.append(element("span", { class: "aside", text: ` ${durationText(value)}` }));
  return shown;
}

function openDetails(row) {
  const panel = byId("details");
  if (panel.hidden) focusBefore = document.activeElement;
  openedRow = row;
  const record = recordOf(row);
  const fields = element("dl", { class: "fields" });
  for (const [name, value] of Object.entries(record)) {
    const meaning = DATA.meanings[name];
    fields.append(element("dt", { text: name, title: meaning }), valueOf(name, value));
  }
  const title = element("p", { class: "what" });
  fillCommand(title, row);
  const notes = [];
  for (const hit of hitsOf.get(row) || []) notes.push(element("p", { class: "warning", text: `Rule: ${hit.title}${hit.level ? ` (${hit.level})` : ""}${hit.tags.length ? ` ${hit.tags.join(", ")}` : ""}` }));
  if (get.is_disguised(row)) notes.push(element("p", { class: "warning", text: "The command line names another program than the one that ran." }));
  if (get.is_cut(row)) notes.push(element("p", { class: "warning", text: `Texts are cut in this report: \`execaudit show ${record.id}\` has them whole.` }));
  const [above, children] = kinOf(row);
  const json = JSON.stringify(record, null, 1).replace(UNSEEN, (found) => (found === "\n" ? found : "\\u" + found.charCodeAt(0).toString(16).padStart(4, "0") + (found.length > 1 ? "\\u" + found.charCodeAt(1).toString(16) : "")));
  const close = element("button", { type: "button", text: "Close", on: { click: closeDetails } });
  panel.replaceChildren(
    element("div", { class: "head" }, element("h3", { text: `Exec ${record.id}`, tabindex: "-1" }), close),
    title,
    ...notes,
    element("p", { class: "tools" },
      element("button", { type: "button", text: "Show in the tree", on: { click: () => showInTree(row) } }),
      element("button", { type: "button", text: "30 s around it", on: { click: () => setRange([starts[row] - 30, starts[row] + 30]) } })),
    ...listOf("What led to it", above),
    ...listOf("What it started", children),
    element("h4", { text: "Record" }),
    fields,
    element("details", {}, element("summary", { text: "As JSON" }), Object.assign(element("pre", { tabindex: "0", "aria-label": "The record as JSON" }), { textContent: json })),
  );
  nameAddress("#" + record.id);
  panel.hidden = false;
  document.body.classList.add("with-details");
  panel.scrollTop = 0;
  panel.querySelector("h3").focus({ preventScroll: true });
  treeList.draw();
  tableList.draw();
  timelineDraw();
}

// Whoever has the file can be sent the address of an exec. Some browsers let no file change its own.
function nameAddress(hash) {
  try {
    history.replaceState(null, "", hash);
  } catch {
    // The panel opens all the same.
  }
}

function openAddressed() {
  const id = decodeURIComponent(location.hash.slice(1));
  for (let row = 0; id.length > 8 && row < ROWS; row++) if (get.id(row) === id) openDetails(row);
}

function closeDetails() {
  const panel = byId("details");
  if (panel.hidden) return;
  nameAddress("#");
  panel.hidden = true;
  openedRow = -1;
  document.body.classList.remove("with-details");
  if (focusBefore && focusBefore.isConnected) focusBefore.focus({ preventScroll: true });
  treeList.draw();
  tableList.draw();
}
