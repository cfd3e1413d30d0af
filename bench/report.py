"""Measure a report in Chromium: how long a search, a zoom and a fold take until their picture is drawn.

`python -m bench.report 20000 100000`, after `make test-report`, which installs the browser. The histories are
those of bench.questions; of more than 20 000 execs a report has a part.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from bench import history

_COMMAND = str(Path(sys.executable).parent / "execaudit")
_CHROMIUM = os.environ.get("EXECAUDIT_TEST_CHROMIUM", "/usr/bin/chromium")
_ROUNDS = 5
# From an event until the frame after it was drawn.
_TIMED = """async ([act, value]) => {
  const acts = {
    search: (text) => { const box = byId("search"); box.value = text; box.dispatchEvent(new Event("input")); },
    zoom: (name) => document.querySelector(`[data-zoom=${name}]`).click(),
    click: (id) => byId(id).click(),
    sort: (name) => document.querySelector(`#table .head-row .${name} button`).click(),
    open: (index) => document.querySelectorAll("#table .space .row")[index].click(),
  };
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)));
  const start = performance.now();
  acts[act](value);
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
  return performance.now() - start;
}"""
_ACTS: dict[str, list[tuple[str, object]]] = {
    "search": [("search", text) for text in ("g", "gi", "git", "user:dev1", "-user:root gcc", "nothing", "")],
    "zoom": [("zoom", name) for name in ("in", "in", "left", "right", "in", "out", "all")],
    "fold": [("click", "fold"), ("click", "unfold")],
    "sort": [("sort", "user"), ("sort", "took"), ("sort", "time")],
    "open a record": [("open", 3), ("open", 5)],
}


def main() -> None:
    """Prints what each size costs."""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as scratch:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        for size in map(int, sys.argv[1:] or ["20000"]):
            path, _, _ = history.known(size, print)
            out = Path(scratch) / f"{size}.html"
            start = time.perf_counter()
            subprocess.run(
                [_COMMAND, "--db", path, "report", "-o", out], check=True, stderr=subprocess.DEVNULL
            )
            took = time.perf_counter() - start
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            start = time.perf_counter()
            page.goto(out.as_uri())
            page.wait_for_selector("html[data-ready]")
            loaded = time.perf_counter() - start
            megabytes = out.stat().st_size / 1e6
            print(f"{size} execs: made in {took:.1f} s, {megabytes:.1f} MB, open in {loaded:.1f} s")
            for name, acts in _ACTS.items():
                times = [page.evaluate(_TIMED, list(act)) for _ in range(_ROUNDS) for act in acts]
                print(f"  {name}: {statistics.median(times):.0f} ms, at most {max(times):.0f} ms")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
