"""What pairing saves: rows until the judge finds a worse model, on real tables.

Two models are trained on the first half of a table and score the second: gradient boosting and a
logistic regression, the better one as champion; and boosting against itself with one of its two
most useful columns shuffled before it scores. Rows of the second half are drawn
anew with replacement. Paired, both losses are those of the same row; unpaired, each model has rows
of its own, as in an experiment that splits the traffic (which then also takes two rows a step; they
count as one here). Rows needed are those at which 80 % of the draws were called worse.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from aios.statistics.sequence import bounds

POWER: Final = 0.8
ERROR_RATE: Final = 0.05
FIRST: Final = 100
STEP: Final = 2**0.25
MOST_ROWS: Final = 200_000
TABLES: Final = {
    "claims": ("vehicle_claims_fraud/claims_1994_1995.csv", "FraudFound_P", ["PolicyNumber"]),
    "marketing": ("bank_marketing/calls_timed.csv", "subscribed", ["call_id", "call_time"]),
}


def read(name: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Columns as numbers, labels, and the columns' names; rows in the order of the file."""
    path, target, dropped = TABLES[name]
    frame = pl.read_csv(
        Path(os.environ["AIOS_DATASETS"]) / path, infer_schema_length=None
    ).drop_nulls(target)
    label = frame[target].cast(pl.Float64).to_numpy()
    frame = frame.drop(target, *dropped)
    codes = frame.select(
        pl.col(column).cast(pl.Float64)
        if frame[column].dtype.is_numeric()
        else pl.col(column).cast(pl.String).rank("dense").cast(pl.Float64)
        for column in frame.columns
    )
    return codes.fill_null(-1).to_numpy(), label, frame.columns


def losses(name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Brier losses of champion and challenger on the second half, by challenger."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, label, columns = read(name)
    half = len(label) // 2

    def trained(model: Any) -> Any:
        return model.fit(features[:half], label[:half])

    def loss(model: Any, scored: np.ndarray) -> np.ndarray:
        score: np.ndarray = model.predict_proba(scored)[:, 1]
        return (score - label[half:]) ** 2

    boosting = trained(
        HistGradientBoostingClassifier(max_iter=60, learning_rate=0.05, random_state=0)
    )
    linear = trained(make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)))
    both, other = loss(boosting, features[half:]), loss(linear, features[half:])
    pairs = {"boosting, logistic": (both, other) if other.mean() > both.mean() else (other, both)}
    generator = np.random.default_rng(0)
    harmed = {}
    for place, column in enumerate(columns):
        scored = features[half:].copy()
        generator.shuffle(scored[:, place])
        harmed[column] = loss(boosting, scored)
    most = sorted(harmed, key=lambda column: -float(harmed[column].mean()))
    return pairs | {f"{column} shuffled": (both, harmed[column]) for column in most[:2]}


def rows_for_power(
    champion: np.ndarray, challenger: np.ndarray, *, paired: bool, repeat: int, seed: int
) -> float:
    """Rows at which the share `POWER` of the draws was called worse; inf beyond `MOST_ROWS`."""
    generator = np.random.default_rng(seed)
    looks = [FIRST]
    while looks[-1] < MOST_ROWS:
        looks.append(round(looks[-1] * STEP))
    reached = np.full(repeat, np.inf)
    for draw in range(repeat):
        rows = generator.integers(len(champion), size=looks[-1])
        others = rows if paired else generator.integers(len(champion), size=looks[-1])
        harm = challenger[others] - champion[rows]
        reached[draw] = next(
            (n for n in looks if bounds(harm[:n], error_rate=ERROR_RATE, first=FIRST).low > 0),
            np.inf,
        )
    return float(np.sort(reached)[int(np.ceil(POWER * repeat)) - 1])


def pairing_table(repeat: int) -> dict[str, Any]:
    """Rows for 80 % power, paired and unpaired, for each table and challenger."""
    print(f"\nRows until {100 * POWER:.0f} % of {repeat} draws are called worse (Brier loss,")
    print(f"looks {STEP:.2f} apart, which is also how fine the figures are)")
    print(f"{'table':12}{'challenger':28}{'harm':>9}{'corr.':>7}{'paired':>11}{'unpaired':>11}")
    figures = {}
    for name in TABLES:
        for challenger, (champion, other) in losses(name).items():
            paired, unpaired = (
                rows_for_power(champion, other, paired=one, repeat=repeat, seed=3)
                for one in (True, False)
            )
            alike = float(np.corrcoef(champion, other)[0, 1])
            print(
                f"{name:12}{challenger:28}{other.mean() - champion.mean():9.5f}{alike:7.2f}"
                f"{_rows(paired)}{_rows(unpaired)}",
                f"x {unpaired / paired:.1f}" if unpaired < np.inf else "",
                flush=True,
            )
            figures[f"{name}/{challenger}"] = {
                "paired": paired,
                "unpaired": unpaired,
                "ratio": min(unpaired, MOST_ROWS) / min(paired, MOST_ROWS),
            }
    return figures


def _rows(rows: float) -> str:
    return f"{rows:11,.0f}" if rows < np.inf else f"  >{MOST_ROWS:8,}"
