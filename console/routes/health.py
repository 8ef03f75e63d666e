"""How every automation stands."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from aios_assets.status import all_status
from console.pages import page
from console.security import Reader

router = APIRouter()


@router.get("/health", response_class=HTMLResponse)
def health(request: Request, visitor: Reader) -> Response:
    """Show every automation with its last partition, model, drift and alarms."""
    rows = all_status(visitor.house.settings)
    return page(request, visitor, "health.html", rows=rows)
