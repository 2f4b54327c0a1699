"""Pages as a browser would read them."""

from __future__ import annotations

from html.parser import HTMLParser

from train.html import VOID


class Walk(HTMLParser):
    """Keeps every start tag and all text; fails on a tag that is not closed in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.starts: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    @property
    def sources(self) -> list[str]:
        """Everything that the page refers to."""
        return [value or "" for _, given in self.starts for name, value in given.items() if name in ("src", "href")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.starts.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.text.append(data)


def walk(text: str) -> Walk:
    """Parse a whole page."""
    parser = Walk()
    parser.feed(text)
    parser.close()
    assert not parser.open
    return parser
