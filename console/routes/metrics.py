"""Figures for Prometheus, for whoever has the token that the operator set."""

from __future__ import annotations

import secrets

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from console.security import house_of, refuse

router = APIRouter()


@router.get("/metrics", response_class=HTMLResponse)
def metrics(request: Request) -> Response:
    """Return all figures; off where `AIOS_CONSOLE_METRICS` is not set."""
    from aios.metrics import exposition

    house = house_of(request)
    token = house.options.metrics
    if not token:
        raise HTTPException(404)
    given = request.headers.get("authorization", "")
    if not secrets.compare_digest(given.encode(), f"Bearer {token}".encode()):
        refuse(request, 401, "not signed in")
        return Response(status_code=401, headers={"www-authenticate": "Bearer"})
    found = exposition(house.settings, house.options.now)
    return Response(found, media_type="text/plain; version=0.0.4; charset=utf-8")
