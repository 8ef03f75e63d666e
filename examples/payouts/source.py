"""Payouts, simulated: 37 weeks in which four things go wrong that a rollout is there for.

Each event is a payout; its label says whether it was fraudulent. What is known by week:

    0-3    fraud goes with large amounts
    4-     fraud happens at night, large amounts matter less: models must be trained again
    9-13   the nightly export runs late, and `case_state` already tells the outcome
    14-    it runs in time again: `case_state` is open for every new payout
    15-22  a partner's `partner_score` is a good sign of fraud
    23-24  the partner turns its scale round
    25-    the partner sends noise
    20-25  there is no fraud in payouts by app
    26-    there is again, and it takes six weeks to be found
"""

from datetime import datetime, timedelta
from functools import lru_cache

import numpy as np
import polars as pl

START = datetime(2024, 1, 1)
WEEKS = 37
EVENTS_A_WEEK = 300
_FOUND = {False: timedelta(days=7), True: timedelta(days=42)}
_COLUMNS = [
    "payout_id",
    "event_time",
    "known_at",
    "amount",
    "night",
    "channel",
    "case_state",
    "partner_score",
]


def period(data=None):
    """Return the first moment and the end of the history."""
    return START, START + WEEKS * timedelta(days=7)


def events(start, end, data=None):
    """Return the payouts in `[start, end)`."""
    table = _history().select(_COLUMNS)
    return table.filter(pl.col("event_time").is_between(start, end, closed="left"))


def labels(start, end, data=None):
    """Return the outcomes that were learned in `[start, end)`."""
    found = _history().select("payout_id", label="fraud", known_at="found_at")
    return found.filter(pl.col("known_at").is_between(start, end, closed="left"))


@lru_cache(maxsize=1)
def _history():
    rows = WEEKS * EVENTS_A_WEEK
    random = np.random.default_rng(5)
    week = np.repeat(np.arange(WEEKS), EVENTS_A_WEEK)
    seconds = week * 604_800 + np.sort(random.integers(0, 604_800, (WEEKS, EVENTS_A_WEEK))).ravel()
    size = random.normal(size=rows)
    night = random.random(rows) < 0.3
    app = random.random(rows) < 0.5
    fraud = _fraud(random, week, size, night, app)
    event_time = pl.Series(np.datetime64(START, "us") + seconds * np.timedelta64(1, "s"))
    late = (week >= 26) & fraud
    return pl.DataFrame(
        {
            "payout_id": np.arange(1, rows + 1),
            "event_time": event_time,
            "known_at": event_time,
            "amount": np.exp(6 + 0.8 * size).round(2),
            "night": night.astype(int),
            "channel": np.where(app, "app", "branch"),
            "case_state": _case_state(week, fraud),
            "partner_score": _partner_score(random, week, fraud),
            "fraud": fraud.astype(float),
            "found_at": event_time + pl.Series([_FOUND[one] for one in late.tolist()]),
        }
    )


def _fraud(random, week, size, night, app):
    early = -1.5 + 2.0 * size + 0.5 * app
    logit = np.where(week < 4, early, -1.8 + 0.5 * size + 3.0 * night + 0.5 * app)
    logit = np.where((week >= 20) & (week <= 25) & app, -6.0, logit)
    logit = np.where((week >= 26) & app, logit + 1.5, logit)
    return random.random(len(week)) < 1 / (1 + np.exp(-logit))


def _case_state(week, fraud):
    told = (week >= 9) & (week <= 13)
    return np.where(told, np.where(fraud, "confirmed", "closed"), "open")


def _partner_score(random, week, fraud):
    sign = np.select([(week >= 15) & (week <= 22), (week >= 23) & (week <= 24)], [1.0, -1.0], 0.0)
    return (sign * (2.0 * fraud - 1.0) * 1.2 + random.normal(size=len(week))).round(4)
