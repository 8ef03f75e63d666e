"""Reading a pack that was made: its page as a browser would, its files as data."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aios_assets.evidence.pack import Pack


class Reader(HTMLParser):
    """Notes links, ids, and tags that were never closed."""

    VOID = {"meta", "br", "circle", "line", "rect"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids |= {value for name, value in attrs if name == "id" and value}
        self.links |= {value for name, value in attrs if name in ("href", "src") and value}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def missing(pack: Pack) -> dict[str, str]:
    return {one["what"]: one["why"] for one in pack.manifest["missing"]}


def content(pack: Pack, name: str) -> Any:
    return json.loads((pack.folder / name).read_bytes())


def lines(pack: Pack, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (pack.folder / name).read_text().splitlines()]


def leaves_of(pack: Pack) -> dict[int, dict[str, Any]]:
    return {one["index"]: json.loads(one["leaf"]) for one in lines(pack, "record/leaves.jsonl")}
