"""Pages made of templates, with what every page shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from aios.halts import EVERYTHING, halts
from aios.identity.tables import moment_of

if TYPE_CHECKING:
    from fastapi import Request

    from console.house import House
    from console.security import Visitor

_FOLDER = Path(__file__).parent / "templates"

PLACES = [
    ("/queue", "Queue"),
    ("/rollouts", "Rollouts"),
    ("/policies", "Policies"),
    ("/decisions", "Decisions"),
    ("/actions", "Actions"),
    ("/measures", "Measures"),
    ("/reports", "Reports"),
    ("/health", "Health"),
]
"""The pages that every page leads to."""


def when(value: datetime | int | None) -> str:
    """Return a moment, or microseconds since 1970, in UTC and to the minute."""
    if value is None:
        return "never"
    moment = moment_of(value) if isinstance(value, int) else value
    return f"{moment:%Y-%m-%d %H:%M}"


def span(seconds: float | None) -> str:
    """Return a time span in words, to its largest two units."""
    if seconds is None or not math.isfinite(seconds):
        return "unknown"
    left, sign = int(abs(seconds)), "-" if seconds < 0 else ""
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return sign + (" ".join(parts[:2]) or "0 s")


def number(value: Any) -> str:
    """Return a figure with as many places as it is worth."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "none"
    return f"{value:,.2f}".removesuffix(".00") if abs(value) >= 1000 else f"{value:.4g}"


def percent(value: float | None) -> str:
    """Return a share in percent."""
    return "none" if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"


def plain(value: Any) -> str:
    """Return any stored value as a person reads it."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    # Whole numbers are ids as often as not.
    if isinstance(value, bool | float) or value is None:
        return number(value)
    return str(value)


def markdown(text: str) -> Markup:
    """Return Markdown as HTML; what is HTML in it stays text."""
    from markdown_it import MarkdownIt

    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").render(text))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(when=when, span=span, number=number, percent=percent, plain=plain)
    return environment


_TEMPLATES = _environment()


def text_of(template: str, context: Mapping[str, Any]) -> str:
    """Return a filled template."""
    return _TEMPLATES.get_template(template).render(**context)


def page(
    request: Request, visitor: Visitor, template: str, status: int = 200, **context: Any
) -> HTMLResponse:
    """Return a page for somebody who is signed in.

    Args:
        request: What was asked.
        visitor: By whom.
        template: The file below `templates/`.
        status: Of the answer.
        context: What the template shows, besides what every page does.
    """
    house = visitor.house
    whole = "hx-request" not in request.headers
    shared = {
        "visitor": visitor,
        "here": request.url.path,
        "places": PLACES,
        "halted": {one.scope: one for one in halts(house.log.database)},
        "everything": EVERYTHING,
        "may_halt": house.may(visitor.actor, "halt"),
        "may_release": house.may(visitor.actor, "release"),
        "automation_names": house.names(),
        "said": house.said.pop(visitor.session.id, "") if whole else "",
        "form": lambda: house.sessions.new_form(visitor.session),
        "now": house.options.now(),
    }
    return HTMLResponse(text_of(template, shared | context), status)


def outside(house: House, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """Return a page for somebody who is not signed in."""
    shared = {"form": lambda: house.sessions.new_form(None)}
    return HTMLResponse(text_of(template, shared | context), status)


def done(visitor: Visitor, said: str, place: str) -> RedirectResponse:
    """Say what was done on the page that follows.

    Args:
        visitor: Who did it.
        said: What.
        place: A path of this console.
    """
    visitor.house.said[visitor.session.id] = said
    return RedirectResponse(place, 303)
