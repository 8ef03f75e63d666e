"""What reviewing is worth: overrides, agreement, time, seeded errors, cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from aios.errors import AiosError
from console.names import Name
from console.pages import page
from console.plots import bars
from console.security import Reader

if TYPE_CHECKING:
    from aios.review.measures import Measures

router = APIRouter()

_BARS = 12


@router.get("/measures", response_class=HTMLResponse)
def measures(request: Request, visitor: Reader) -> Response:
    """List the automations whose decisions people review."""
    names = [name for name, one in visitor.house.automations().items() if one.spec.review]
    return page(request, visitor, "measures.html", names=names)


@router.get("/measures/{name}", response_class=HTMLResponse)
def measures_of(request: Request, visitor: Reader, name: Name) -> Response:
    """Show how the reviewing of one automation goes."""
    from aios_assets.lifecycle.reviews import measure_reviews

    house, automation = visitor.house, visitor.house.automation(name)
    if automation.spec.review is None:
        raise AiosError("it declares no review", fix="Choose one of the list.")
    found = house.measured(name, lambda: measure_reviews(automation, house.platform))
    return page(
        request, visitor, "measured.html", name=name, found=found, plots=_plots(found),
        currency=bool(automation.spec.costs),
    )  # fmt: skip


def _plots(found: Measures) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the bars of each plot by title, the most counted first."""
    plots = []
    for by, shares in found.overrides.items():
        most = sorted(shares.items(), key=lambda item: -item[1].n)[:_BARS]
        if most:
            plots.append((f"Changed proposals by {by.replace('_', ' ')}", bars(dict(most))))
    return plots
