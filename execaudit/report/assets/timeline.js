// The timeline: how many execs over time, zoomed; gaps, hits and marked execs below it; and the whole range.
const MIN_SPAN = 0.01;
const BINS = 180;
const PAD = 46, RIGHT = 26; // what the axis with numbers takes, and half of the last label
let chart = null, overview = null;
const gaps = DATA.gaps.map((gap) => ({
  from: gap.from === null ? -Infinity : secondsOf(gap.from),
  to: gap.to === null ? Infinity : secondsOf(gap.to),
  gap,
}));

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function rangeNow() {
  return filters.range || WHOLE;
}

const NICE = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

function binWidth(span) {
  const wanted = span / BINS;
  const width = wanted < 1 ? 10 ** Math.ceil(Math.log10(wanted)) : NICE.find((nice) => nice >= wanted) || Math.ceil(wanted / 86400) * 86400;
  if (!DATA.density) return width;
  // The counts of what is not here come in pieces.
  const piece = DATA.density.width;
  return Math.max(1, Math.round(width / piece)) * piece;
}

// Returns [times, all, shown, wrong] for uPlot: a number for each piece of the range.
function counts([from, to]) {
  const width = binWidth(to - from);
  const base = DATA.density ? DATA.density.from : Math.floor(WHOLE[0] / width) * width;
  const low = Math.floor((from - base) / width), length = Math.min(4000, Math.max(1, Math.ceil((to - base) / width) - low));
  const times = Array.from({ length }, (_, at) => base + (low + at) * width);
  const all = new Array(length).fill(0), shown = new Array(length).fill(0), wrong = new Array(length).fill(0);
  // The first row that is not before the range.
  let left = 0, right = ROWS;
  while (left < right) {
    const middle = (left + right) >> 1;
    if (starts[byTime[middle]] < times[0]) left = middle + 1;
    else right = middle;
  }
  for (let at = left; at < ROWS; at++) {
    const row = byTime[at], bin = Math.floor((starts[row] - times[0]) / width);
    if (bin >= length) break;
    if (bin < 0) continue;
    if (!isContext[row]) all[bin]++;
    if (otherMask[row]) {
      shown[bin]++;
      if (isWrong[row]) wrong[bin]++;
    }
  }
  if (DATA.density) {
    const { execs, width: piece } = DATA.density;
    all.fill(0);
    execs.forEach((count, at) => {
      const bin = Math.floor((at + 0.5) * piece / width) - low;
      if (bin >= 0 && bin < length) all[bin] += count;
    });
  }
  return [times, all, shown, wrong];
}

function drawGaps(plot) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.fillStyle = ctx.strokeStyle = colour("--gap");
  const ratio = window.devicePixelRatio || 1;
  for (const { from, to } of gaps) {
    const { min, max } = plot.scales.x;
    if (to < min || from > max) continue;
    const left = plot.valToPos(Math.max(from, min), "x", true), right = plot.valToPos(Math.min(to, max), "x", true);
    const width = Math.max(2 * ratio, right - left);
    ctx.globalAlpha = 0.25;
    ctx.fillRect(left, bbox.top, width, bbox.height);
    ctx.globalAlpha = 0.7;
    ctx.beginPath();
    ctx.rect(left, bbox.top, width, bbox.height);
    ctx.save();
    ctx.clip();
    ctx.beginPath();
    for (let x = left - bbox.height; x < left + width; x += 8 * ratio) {
      ctx.moveTo(x, bbox.top + bbox.height);
      ctx.lineTo(x + bbox.height, bbox.top);
    }
    ctx.stroke();
    ctx.restore();
  }
  ctx.restore();
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

// Labels of the axis: the day where it begins, else the time of day.
function ticks(_plot, splits, _axis, _space, step) {
  let before = null;
  return splits.map((seconds) => {
    const [day, clock] = partsOf(seconds + 1e-6);
    const isNew = day !== before && !(before === null && isOneDay);
    before = day;
    const date = `${Number(day.slice(8))} ${MONTHS[Number(day.slice(5, 7)) - 1]}`;
    if (step >= 86400) return step > 86400 * 100 ? `${date} ${day.slice(0, 4)}` : date;
    if (isNew) return `${date} ${clock.slice(0, 5)}`;
    if (step >= 60) return clock.slice(0, 5);
    return step >= 1 ? clock : clock.slice(3) + (seconds % 1).toFixed(3).slice(1);
  });
}

function optionsOf(height, isOverview) {
  const bars = uPlot.paths.bars({ size: [0.92, 60], align: 1 });
  const series = (name, alpha) => ({ paths: bars, points: { show: false }, fill: () => colour(name) + alpha, stroke: () => colour(name), width: 0 });
  const axis = { stroke: () => colour("--muted"), ticks: { show: false }, font: "12px system-ui, sans-serif", grid: { stroke: () => colour("--line"), width: 1 } };
  return {
    width: 300,
    height,
    ms: 1e-3,
    tzDate: (seconds) => (state.local ? new Date(seconds * 1000) : uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC")),
    legend: { show: false },
    padding: [6, RIGHT, 0, 0],
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
    scales: { x: { time: true, range: () => (isOverview ? WHOLE : rangeNow()) }, y: { range: (_plot, _low, high) => [0, Math.max(1, high)] } },
    axes: isOverview
      ? [{ ...axis, size: 24, space: 100, values: ticks }, { ...axis, size: PAD, show: true, values: () => [], grid: { show: false } }]
      : [{ ...axis, size: 28, space: 100, values: ticks }, { ...axis, size: PAD, space: 30, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000, 100000, 1000000] }],
    series: [{}, series("--all", ""), series("--accent", ""), series("--bad", "")],
    hooks: {
      drawClear: [drawGaps],
      setSelect: [(plot) => takeSelection(plot, isOverview)],
      setCursor: [(plot) => !isOverview && sayPlace(plot)],
    },
  };
}

let isSelecting = false;

function takeSelection(plot, isOverview) {
  const { left, width } = plot.select;
  if (isSelecting || width < 3) {
    if (!isSelecting && isOverview) markOverview();
    return;
  }
  const from = plot.posToVal(left, "x"), to = plot.posToVal(left + width, "x");
  isSelecting = true;
  plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  isSelecting = false;
  setRange([from, to]);
}

function markOverview() {
  if (!overview) return;
  const range = filters.range;
  isSelecting = true;
  if (range) {
    const left = Math.max(0, overview.valToPos(range[0], "x")), right = Math.min(overview.over.clientWidth, overview.valToPos(range[1], "x"));
    overview.setSelect({ left, top: 0, width: Math.max(2, right - left), height: overview.over.clientHeight }, false);
  } else overview.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  isSelecting = false;
}

function sayPlace(plot) {
  const at = plot.cursor.idx;
  if (at === null || at === undefined || plot.cursor.left < 0) {
    sayRange();
    return;
  }
  const [times, all, shown, wrong] = plot.data;
  const gap = gaps.find(({ from, to }) => from < times[at] + binWidth(spanNow()) && to >= times[at]);
  byId("readout").textContent = printable(`${momentText(times[at])} ${zoneName()}: ${counted(all[at], "exec")}, ${shown[at]} shown, ${wrong[at]} went wrong${gap ? `; ${gap.gap.text}` : ""}`);
}

function spanNow() {
  const [from, to] = rangeNow();
  return to - from;
}

function sayRange() {
  const [from, to] = rangeNow();
  byId("readout").textContent = `${momentText(from)} to ${momentText(to)} ${zoneName()}. Drag to zoom, double click to see all.`;
}

// Shows a range; null: all of it. The tree and the table follow.
function setRange(range) {
  if (range) {
    let [from, to] = range;
    if (to - from < MIN_SPAN) [from, to] = [(from + to - MIN_SPAN) / 2, (from + to + MIN_SPAN) / 2];
    // What is before or after the whole is empty.
    const span = Math.min(to - from, WHOLE[1] - WHOLE[0]);
    from = Math.min(Math.max(from, WHOLE[0]), WHOLE[1] - span);
    range = span >= WHOLE[1] - WHOLE[0] ? null : [from, from + span];
  }
  filters.range = range;
  update();
}

const ZOOMS = {
  in: ([from, to]) => [from + (to - from) / 4, to - (to - from) / 4],
  out: ([from, to]) => [from - (to - from) / 2, to + (to - from) / 2],
  left: ([from, to]) => [from - (to - from) / 3, to - (to - from) / 3],
  right: ([from, to]) => [from + (to - from) / 3, to + (to - from) / 3],
  all: () => null,
};
const ZOOM_KEYS = { "+": "in", "=": "in", "-": "out", ArrowLeft: "left", ArrowRight: "right", Home: "all" };

function timelineDraw() {
  if (!chart) return;
  const width = byId("timeline").clientWidth;
  if (!width) return;
  if (chart.width !== width) {
    chart.setSize({ width, height: 180 });
    overview.setSize({ width, height: 64 });
  }
  chart.setData(counts(rangeNow()), true);
  overview.setData(counts(WHOLE), true);
  markOverview();
  drawLanes(width);
  sayRange();
}

// Marked execs as spans, hits and gaps as marks: buttons, for the keyboard too.
const LANE = 20, MOST_LANES = 10;

function drawLanes(width) {
  const [from, to] = rangeNow(), room = width - PAD - RIGHT;
  const place = (seconds) => PAD + (Math.min(Math.max(seconds, from), to) - from) / (to - from) * room;
  const host = byId("lanes");
  const made = [];
  let top = 2;
  const seen = gaps.filter((gap) => gap.to >= from && gap.from <= to).slice(-500);
  for (const gap of seen) {
    const left = place(gap.from);
    const bar = element("div", { class: "lane gap", title: gap.gap.text });
    setBox(bar, left, top, Math.max(3, place(gap.to) - left));
    made.push(bar);
  }
  if (seen.length) top += LANE;
  const cells = new Map();
  for (const [row, hits] of hitsOf) {
    if (!otherMask[row] || starts[row] < from || starts[row] > to) continue;
    const cell = Math.round(place(starts[row]) / 10);
    if (!cells.has(cell)) cells.set(cell, { row, titles: new Set(), count: 0 });
    const found = cells.get(cell);
    found.count += hits.length;
    for (const hit of hits) found.titles.add(hit.title);
  }
  for (const [, { row, titles, count }] of cells) {
    const label = `${counted(count, "hit")}: ${[...titles].slice(0, 5).join("; ")}`;
    const mark = element("button", { type: "button", class: "lane hit", "aria-label": printable(label), title: printable(label), text: "▼", on: { click: () => openDetails(row) } });
    setBox(mark, place(starts[row]) - 6, top, null);
    made.push(mark);
  }
  if (cells.size) top += LANE;
  const marked = byTime.filter((row) => isMarked[row] && ends[row] >= from && starts[row] <= to);
  const lanes = [];
  for (const row of marked) {
    const left = place(starts[row]), bar = Math.max(6, place(ends[row]) - left);
    const label = shortOf(row).slice(0, Math.min(40, Math.floor(Math.max(left, width - left - bar) / 7.5) - 2));
    const right = Math.max(left + bar, left + 12 + label.length * 7);
    let lane = lanes.findIndex((end) => end < left);
    if (lane < 0) lane = lanes.length < MOST_LANES ? lanes.push(0) - 1 : lanes.indexOf(Math.min(...lanes));
    lanes[lane] = right;
    const button = element("button", { type: "button", class: row === openedRow ? "lane span opened" : "lane span", title: printable(shortOf(row)), "aria-label": printable(`Marked: ${timeOf(row)} ${shortOf(row)}`), on: { click: () => openDetails(row) } });
    const line = element("span", { class: isWrong[row] ? "bar wrong" : "bar" });
    line.style.width = `${bar}px`;
    const text = element("span", { class: "text", text: label });
    // Where there is no room to the right, the text stands before the bar.
    button.append(line, text);
    if (right > width) {
      button.classList.add("flipped");
      button.style.right = `${Math.max(0, width - left - bar)}px`;
      button.style.top = `${top + lane * LANE}px`;
    } else setBox(button, left, top + lane * LANE, null);
    made.push(button);
  }
  host.replaceChildren(...made);
  host.style.height = `${top + lanes.length * LANE}px`;
}

function setBox(node, left, top, width) {
  node.style.left = `${left}px`;
  node.style.top = `${top}px`;
  if (width !== null) node.style.width = `${width}px`;
}

function makeTimeline() {
  const host = byId("timeline");
  chart = new uPlot(optionsOf(180, false), counts(WHOLE), byId("chart"));
  overview = new uPlot(optionsOf(64, true), counts(WHOLE), byId("overview"));
  for (const plot of [chart, overview]) plot.over.addEventListener("dblclick", () => setRange(null));
  for (const button of document.querySelectorAll("[data-zoom]"))
    button.addEventListener("click", () => setRange(ZOOMS[button.dataset.zoom](rangeNow())));
  host.addEventListener("keydown", (event) => {
    if (event.target !== host || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(ZOOM_KEYS, event.key)) return;
    event.preventDefault();
    setRange(ZOOMS[ZOOM_KEYS[event.key]](rangeNow()));
  });
  chart.over.addEventListener("wheel", (event) => {
    // Without a key, the wheel moves the page.
    if (!event.ctrlKey && !event.shiftKey) return;
    event.preventDefault();
    const at = chart.posToVal(event.offsetX, "x"), factor = event.deltaY + event.deltaX > 0 ? 1.3 : 1 / 1.3;
    const [from, to] = rangeNow();
    setRange([at - (at - from) * factor, at + (to - at) * factor]);
  }, { passive: false });
  onWidth(host, timelineDraw);
  window.addEventListener("resize", () => [treeList, tableList].forEach((list) => list.measure()));
}
