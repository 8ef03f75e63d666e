"""The pages that the platform wrote for people: drift, rollouts, model cards."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.exceptions import HTTPException

from console.pages import page
from console.security import Reader, refuse

router = APIRouter()

SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'none'"
)
"""Reports bring their own scripts: they run in a place of their own, without cookies or network."""

_KINDS = {".html": "text/html; charset=utf-8", ".png": "image/png"}
_LISTED = 500

Inside = Annotated[str, InPath(max_length=300, pattern=r"^[^\x00-\x1f\\]+$")]


@router.get("/reports", response_class=HTMLResponse)
def reports(request: Request, visitor: Reader) -> Response:
    """List the newest reports of each automation."""
    root = visitor.house.settings.home / "reports"
    found = sorted(_files(root), key=lambda one: one.stem, reverse=True)[:_LISTED]
    groups: dict[str, list[str]] = {}
    for one in found:
        parts = one.relative_to(root).parts
        groups.setdefault(" / ".join(parts[:-1]), []).append("/".join(parts))
    return page(request, visitor, "reports.html", groups=dict(sorted(groups.items())))


@router.get("/reports/{inside:path}", response_class=HTMLResponse)
def report(request: Request, visitor: Reader, inside: Inside) -> Response:
    """Serve one report; nothing outside the folder of reports, nothing of another kind."""
    root = (visitor.house.settings.home / "reports").resolve()
    path = Path(os.path.realpath(root / inside))
    kind = _KINDS.get(path.suffix)
    hidden = any(part.startswith(".") for part in Path(inside).parts)
    if not path.is_relative_to(root) or hidden or kind is None:
        refuse(request, 404, "outside the reports")
        raise HTTPException(404)
    if not path.is_file():
        raise HTTPException(404)
    headers = {"content-security-policy": SANDBOX}
    return FileResponse(path, media_type=kind, headers=headers)


def _files(root: Path) -> list[Path]:
    return [
        path
        for path in root.glob("*/*/*")
        if path.suffix in _KINDS and not path.name.startswith(".")
    ]
