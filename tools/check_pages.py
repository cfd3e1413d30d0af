"""Check links, anchors and the navigation of the pages: `check_pages.py [CHECKOUT]`.

The site's builder does not check README.md, CONTRIBUTING.md and CHANGELOG.md, nor pages that are missing in
the navigation or in docs/. This does. It needs nothing but Python, so `make test` can run it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator

_OUTSIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
_CODE = re.compile(r"^(```|~~~).*?^\1\s*$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)


def main() -> None:
    """Prints each problem, and exits with 1 if there are any."""
    checkout = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent
    problems = [*_bad_links(checkout), *_bad_navigation(checkout)]
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    sys.exit(1 if problems else 0)


def _bad_links(checkout: Path) -> Iterator[str]:
    pages = [checkout / name for name in _OUTSIDE] + sorted((checkout / "docs").rglob("*.md"))
    for page in pages:
        name = page.relative_to(checkout)
        for link in _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8"))):
            if re.match(r"\w+:", link):
                continue  # a link to another site
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            if not target.exists():
                yield f"{name}: there is no {link}"
            elif anchor and anchor not in _anchors(target):
                yield f"{name}: {target.name} has no heading for #{anchor}"


def _anchors(page: Path) -> set[str]:
    """Returns the anchors that forges give to the headings of a page."""
    text = re.sub(
        r"^(```|~~~).*?^\1\s*$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in _HEADING.findall(text)}


def _bad_navigation(checkout: Path) -> Iterator[str]:
    settings = tomllib.loads((checkout / "zensical.toml").read_text(encoding="utf-8"))
    named = list(_named(settings["project"]["nav"]))
    there = {str(path.relative_to(checkout / "docs")) for path in (checkout / "docs").rglob("*.md")}
    yield from (f"zensical.toml: docs/{name} is not in nav" for name in sorted(there - set(named)))
    yield from (f"zensical.toml: nav has {name}, which is not there" for name in sorted(set(named) - there))
    yield from (
        f"zensical.toml: nav has {name} twice" for name in sorted({n for n in named if named.count(n) > 1})
    )


def _named(entry: Any) -> Iterator[str]:  # noqa: ANN401  # nested lists and tables
    if isinstance(entry, str):
        yield entry
    else:
        for inner in entry.values() if isinstance(entry, dict) else entry:
            yield from _named(inner)


if __name__ == "__main__":
    main()
