"""A report in Chromium: it is zoomed, folded, searched, read aloud and printed; texts stay texts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import axe_playwright_python
import pytest

from tests.browser.conftest import MARKED
from tests.commands import execaudit
from tests.histories import make_event, make_history
from tests.reports import report

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

ALL = 287
_AXE = Path(str(axe_playwright_python.__file__)).parent / "axe.min.js"


def shown(page: Page) -> int:
    """Returns how many execs are shown."""
    return int(re.match(r"[\d,]+", page.inner_text("#count"))[0].replace(",", ""))  # type: ignore[index]  # else it fails


def texts(page: Page, selector: str) -> list[str]:
    """Returns the texts of what can be seen."""
    return [text for text in page.locator(f"{selector} >> visible=true").all_inner_texts() if text]


def rows_of(page: Page) -> int:
    """Returns how many rows the tree has, its head included."""
    return int(str(page.locator("#tree .grid").get_attribute("aria-rowcount")))


def first(page: Page, name: str = "table") -> str:
    """Returns the command in the first row."""
    return str(page.locator(f"#{name} [aria-rowindex='2'] .command").inner_text())


def test_the_timeline_zooms(incident: Path, opened: Callable[..., Page]) -> None:
    """By dragging, by buttons and by keys; the tree and the table follow, and all comes back."""
    page = opened(incident)
    page.locator("#chart .u-over").scroll_into_view_if_needed()
    chart = page.locator("#chart .u-over").bounding_box()
    assert chart is not None
    assert shown(page) == ALL
    page.mouse.move(chart["x"] + chart["width"] * 0.63, chart["y"] + 50)
    page.mouse.down()
    page.mouse.move(chart["x"] + chart["width"] * 0.66, chart["y"] + 60, steps=4)
    page.mouse.up()
    near = shown(page)

    assert 10 < near < 60
    assert re.search(r"03:0\d:\d\d to .*03:1\d:\d\d", page.inner_text("#range"))
    assert len(texts(page, "#table .space .row")) > 5
    page.click("[data-zoom=in]")
    assert shown(page) < near
    page.locator("#chart .u-over").dblclick()
    assert shown(page) == ALL
    assert page.locator("#range").is_hidden()
    page.focus("#timeline")
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    assert shown(page) < ALL
    page.keyboard.press("Home")
    assert shown(page) == ALL


def test_the_search_finds(incident: Path, opened: Callable[..., Page]) -> None:
    """Words, without words, fields, and switches; together."""
    page = opened(incident)
    for typed, count in (
        ("cron.d/sync", 1), ("user:monitor", 216), ("-user:monitor", ALL - 216), ('"-c 1" ping', 3),
        ("exit_code=127", 2), ("errno=ENOENT", 4), ("kind:snapshot -nginx", 7), ("nothing like this", 0),
    ):  # fmt: skip
        page.fill("#search", typed)
        assert (typed, count) == (typed, shown(page))
    assert page.locator("#table .empty").is_visible()
    page.fill("#search", "")
    page.click("text=Went wrong")
    wrong = shown(page)
    page.select_option("#user", "www-data")

    assert 5 < shown(page) <= wrong < 20
    page.click("#clear")
    assert shown(page) == ALL


def test_the_tree_folds(incident: Path, opened: Callable[..., Page]) -> None:
    """By a click and by keys; what stands out is open at first."""
    page = opened(incident)
    rows = page.locator("#tree .grid")
    before = rows_of(page)
    assert 20 < before < ALL
    assert "tee /etc/cron.d/sync" in " ".join(texts(page, "#tree .row.is-marked"))
    page.click("#unfold")
    assert rows_of(page) == ALL + 1
    page.click("#fold")
    folded = rows_of(page)
    assert folded < 5
    page.locator("#tree [aria-rowindex='2'] .twisty").click()
    assert rows_of(page) > folded
    rows.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    assert rows_of(page) == folded
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    active = page.locator("#tree .row.active")
    assert ["2", "3"] == [active.get_attribute("aria-level"), active.get_attribute("aria-rowindex")]
    # What is asked for is not hidden in a fold that the page made.
    page = opened(incident)
    page.fill("#search", "localhost/health")
    assert 4 < len(texts(page, "#tree .row:not(.context) .words"))


def test_a_record_opens(history: Path, incident: Path, opened: Callable[..., Page]) -> None:
    """The panel has the record that `show` has, and leads to relatives; Escape closes it."""
    page = opened(incident)
    page.fill("#search", MARKED[0])
    page.locator("#table .grid").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator("#details summary").click()
    record = json.loads(page.locator("#details pre").inner_text())
    stored = json.loads(execaudit("--db", history, "show", MARKED[0], "--format=json").out)

    assert {name: stored["exec"][name] for name in record} == record
    assert page.locator("#details h3").inner_text() == f"Exec {MARKED[0]}"
    page.locator("#details .kin >> nth=1").locator("button >> nth=0").click()
    assert page.locator("#details h3").inner_text() != f"Exec {MARKED[0]}"
    page.click("text=Show in the tree")
    assert page.locator("#tree .row.opened").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#details").is_hidden()
    assert page.locator("#tree .row.opened").count() == 0
    page.locator("#lanes .span >> nth=0").click()
    assert page.locator("#details h3").inner_text() == f"Exec {MARKED[0]}"
    assert page.evaluate("location.hash") == f"#{MARKED[0]}"
    page.evaluate(f"location.hash = '{MARKED[1]}'")
    page.wait_for_function(f"document.querySelector('#details h3').textContent === 'Exec {MARKED[1]}'")


def test_the_table_sorts(incident: Path, opened: Callable[..., Page]) -> None:
    """By any column, in both directions; times can be those of the reader."""
    page = opened(incident)
    early = page.locator("#table [aria-rowindex='2'] .time").inner_text()
    page.click("#table .head-row .took button")
    assert page.locator("#table .head-row .took").get_attribute("aria-sort") == "descending"
    longest = first(page)
    page.click("#table .head-row .took button")
    assert first(page) != longest
    page.click("#table .head-row .time button")
    page.click("#zone")

    assert early == "2026-11-22 22:00:00.000"
    assert page.locator("#table [aria-rowindex='2'] .time").inner_text() == "2026-11-23 07:00:00.000"
    assert "Asia/Tokyo" in page.inner_text("#table .head-row")


@pytest.mark.parametrize(("width", "dark"), [(400, False), (760, True), (1280, True), (1600, False)])
def test_it_is_accessible_and_fits(
    incident: Path, opened: Callable[..., Page], width: int, *, dark: bool
) -> None:
    """Axe finds nothing serious, and nothing is wider than the window, whatever is open."""
    page = opened(incident, width=width, dark=dark)
    found: list[Any] = []
    for step in range(3):
        if step == 1:
            page.click("#lanes .span >> nth=0")
        elif step:
            page.fill("#search", "nothing like this")
        page.evaluate(_AXE.read_text(encoding="utf-8"))
        results = page.evaluate("axe.run().then((found) => found.violations)")
        found += [
            (each["id"], [node["target"] for node in each["nodes"]][:3])
            for each in results
            if each["impact"] in ("serious", "critical")
        ]
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    assert [] == found


def test_hostile_texts_are_only_texts(tmp_path: Path, opened: Callable[..., Page]) -> None:
    """No element comes from them, nothing of theirs runs, and what cannot be seen is escaped."""
    from tests.report.test_command import HOSTILE  # noqa: PLC0415  # as there

    events = [
        make_event(*HOSTILE, seconds=1, pid=100, user="<u>\u202e", comm=b"</b>\x1b[", exe=b"/<img src=x>", cwd=b"/\xff<a href=x>"),
        make_event(b"__proto__", b"constructor", seconds=2, pid=101, user="__proto__", host="constructor"),
    ]  # fmt: skip
    out = tmp_path / "x.html"
    report(
        make_history(tmp_path / "h.db", events), out, "--mark=pid:100", "--mark=pid:101", "--note=<b>x</b>"
    )
    page = opened(out)
    for row in (0, 1):
        page.locator(f"#lanes .span >> nth={row}").click()
        page.locator("#details summary").click()
        page.keyboard.press("Escape")
    page.locator("#lanes .span >> nth=0").click()
    page.locator("#details summary").click()
    text = page.locator("body").inner_text()

    assert page.evaluate("window.pwned") is None
    assert 0 == page.locator("img, u, b, body a:not(.skip), iframe").count()
    assert not re.findall("[\u202e\u2028\u200b\x1b\x07\x00]", text)
    assert r"\u202e" in text
    assert r"\x1b[31mred" in text
    assert "</script><script>window.pwned=1</script>" in page.locator("#details .argv").inner_text()
    record = json.loads(page.locator("#details pre").inner_text())
    assert ["a\u2028b\u202ec\u200b", "<u>\u202e"] == [record["argv"][2], record["user"]]
    page.keyboard.press("Escape")
    for typed, count in (("constructor:x", 0), ("toString:x", 0), ("host:constructor", 1), ("__proto__", 1)):
        page.fill("#search", typed)
        assert (typed, count) == (typed, shown(page))


def test_it_prints(incident: Path, opened: Callable[..., Page]) -> None:
    """On paper there are rows, in light colours, and no buttons."""
    page = opened(incident, dark=True)
    page.fill("#search", "user:www-data")
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")

    assert shown(page) == page.locator("#table-print tbody tr").count()
    assert "tee /etc/cron.d/sync" in page.inner_text("#tree-print")
    assert "rgb(255, 255, 255)" == page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert not texts(page, "button:not(.lane):not(.link)")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert 0 == page.locator("#table-print tr").count()
    assert len(page.pdf(format="A4")) > 20_000


def test_without_scripts_the_summary_is_there(browser: Any, incident: Path) -> None:  # noqa: ANN401  # playwright's
    """As in the preview of a mail."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(incident.as_uri())
    text = page.inner_text("body")
    context.close()

    for part in (
        "287 execs of 33 programs",
        "Look here",
        "tee /etc/cron.d/sync",
        "This viewer runs no scripts",
        "1184 execs",
    ):
        assert part in text
