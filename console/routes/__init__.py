"""The routes, a module for each page."""

from __future__ import annotations

from console.routes import (
    actions,
    cases,
    decisions,
    health,
    measures,
    metrics,
    policies,
    queue,
    reports,
    rollouts,
    sign_in,
    switch,
)

_PAGES = (
    *(sign_in, queue, cases, rollouts, policies, decisions, actions, measures, reports, health),
    switch,
)

ROUTERS = [one.router for one in (*_PAGES, metrics)]
"""Every router of the console."""
