// Which rows are shown: words, switches, lists and the range of the timeline, all at once.
const filters = { words: [], failed: false, unusual: false, marked: false, hits: false, user: "", host: "", range: null };
const shownMask = new Uint8Array(ROWS); // matches all, the range too
const otherMask = new Uint8Array(ROWS); // matches all but the range: what the timeline draws
let shownCount = 0;

const SEARCHED = ["command", "program", "exe", "filename", "interpreter", "user", "login_user", "comm", "parent_comm", "cwd", "tty", "host", "status", "marks", "cgroup", "id"];
const haystacks = new Array(ROWS);

function haystackOf(row) {
  let found = haystacks[row];
  if (found === undefined) {
    const parts = [];
    let last = null;
    for (const name of SEARCHED) {
      const value = get[name](row);
      if (value !== null && value !== last) parts.push(value);
      last = value;
    }
    if (get.argv(row) !== 0) parts.push(argvOf(row).join(" "));
    for (const hit of hitsOf.get(row) || []) parts.push(hit.title);
    found = haystacks[row] = parts.join("\n").toLowerCase();
  }
  return found;
}

// Makes the texts that are searched before somebody waits for them, a few at a time.
function prepareSearch(first) {
  const start = performance.now();
  let row = first;
  while (row < ROWS && performance.now() - start < 8) haystackOf(row++);
  if (row < ROWS) setTimeout(prepareSearch, 0, row);
}

// Returns what is asked for: [{without, name, exact, text}].
function parseWords(text) {
  const found = [];
  for (const [, dash, name, sign, quoted, bare] of text.matchAll(/(-?)(?:([a-z_0-9]+)([:=]))?(?:"([^"]*)"?|(\S+))/gi)) {
    let word = quoted !== undefined ? quoted : bare;
    let field = null;
    if (name !== undefined) {
      if (name.toLowerCase() in get) field = name.toLowerCase();
      else word = name + sign + word; // `http://x` is text
    }
    if (word !== "" || field) found.push({ without: dash === "-", name: field, exact: sign === "=", text: word.toLowerCase() });
  }
  return found;
}

function valueText(name, row) {
  if (name === "argv") return argvOf(row).join("\n").toLowerCase();
  const value = name === "parent_id" || name === "replaced_by" ? idOf(get[name](row)) : get[name](row);
  return value === null ? "null" : String(value).toLowerCase();
}

// Returns a function of a row. A value that many rows share is looked at once.
function testOf(word) {
  if (word.name === null) return (row) => haystackOf(row).includes(word.text) !== word.without;
  const column = DATA.columns[word.name];
  const holds = (row) => {
    const text = valueText(word.name, row);
    return (word.exact ? text === word.text : text.includes(word.text)) !== word.without;
  };
  if (!("at" in column)) return holds;
  const known = new Map();
  return (row) => {
    const at = column.at[row];
    let found = known.get(at);
    if (found === undefined) known.set(at, (found = holds(row)));
    return found;
  };
}

function applyFilters() {
  const tests = filters.words.map(testOf);
  if (filters.failed) tests.push((row) => isWrong[row] === 1);
  if (filters.unusual) tests.push((row) => isUnusual[row] === 1);
  if (filters.marked) tests.push((row) => isMarked[row] === 1);
  if (filters.hits) tests.push((row) => hitsOf.has(row));
  if (filters.user !== "") tests.push((row) => userOf(row) === filters.user);
  if (filters.host !== "") tests.push((row) => get.host(row) === filters.host);
  const [from, to] = filters.range || [-Infinity, Infinity];
  shownCount = 0;
  for (let row = 0; row < ROWS; row++) {
    // What only led to an exec, or was marked elsewhere, is not what the query found.
    let matches = isContext[row] && !isMarked[row] ? 0 : 1;
    for (let at = 0; matches && at < tests.length; at++) if (!tests[at](row)) matches = 0;
    otherMask[row] = matches;
    shownMask[row] = matches && starts[row] >= from && starts[row] <= to ? 1 : 0;
    shownCount += shownMask[row];
  }
}

function isFiltered() {
  return filters.words.length > 0 || filters.failed || filters.unusual || filters.marked || filters.hits || filters.user !== "" || filters.host !== "";
}
