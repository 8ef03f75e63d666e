"""The rollout's judge beside Kayenta's Mann-Whitney judge and a repeated z-test.

    python -m benchmarks.judge [--quick] [--repeat 300] [--only aa,bounds,power,cases,paired]

- aa: two equal models, looked at 24 times by 10 metrics. How often is one of them rolled back?
- bounds: how often a bound of one series is ever wrong, at 5 % and at a tenth of it.
- power: errors of 5 % against more, 200 rows a minute and model, unpaired.
- cases: 7 of 10 points a hundred times the baseline; every metric fails to compute.
- paired: rows until a worse model is found, on real tables, by pairs of scores for the same row and
  by rows of their own for each model.

Each share is followed by its Monte Carlo standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from aios.statistics.sequence import bounds
from benchmarks.kayenta import Label, classify, group_score, z_test_worse
from model_registry.judge import Series, judge

LOOKS: Final = 24
METRICS: Final = 10
ERROR_RATE: Final = 0.05
CORRELATIONS: Final = (0.0, 0.3, 0.5, 0.7, 0.9)
NO_MARGIN: Final = 1e-12
MIN_ROWS: Final = 50
"""Kayenta's users ask for 50 points a metric."""
MINUTES, ROWS_A_MINUTE = 60, 200
POWER_MARGIN: Final = 0.005


def share(hits: int, of: int) -> str:
    """Percentage with its Monte Carlo standard error; the error of none is that of one."""
    rate = max(hits, 1) / of
    return f"{100 * hits / of:5.1f} ±{100 * (rate * (1 - min(rate, 1)) / of) ** 0.5:4.1f}"


def autoregressive(
    generator: np.random.Generator, shape: tuple[int, int], correlation: float
) -> np.ndarray:
    """Series of standard normal noise of first-order autocorrelation, one a column."""
    from scipy.signal import lfilter

    noise = generator.normal(size=shape)
    noise[1:] *= (1 - correlation**2) ** 0.5
    return np.asarray(lfilter([1.0], [1.0, -correlation], noise, axis=0))


def _exponential(normal: np.ndarray) -> np.ndarray:
    from scipy.stats import norm

    return np.asarray(-norm.logsf(normal))


def _heavy(normal: np.ndarray) -> np.ndarray:
    from scipy.stats import norm, t

    return np.asarray(t.ppf(norm.cdf(normal), 3))


KINDS: Final[dict[str, Callable[[np.ndarray], np.ndarray]]] = {
    "normal": lambda normal: normal,
    "lognormal": np.exp,
    "exponential": _exponential,
    "heavy-tailed (t, 3 df)": _heavy,
    "0/1, 5 %": lambda normal: 1.0 * (normal > 1.645),
    "0/1, 1 %": lambda normal: 1.0 * (normal > 2.326),
}


def equal_models(
    generator: np.random.Generator, rows: int, correlation: float, kind: str, common: float
) -> tuple[np.ndarray, np.ndarray]:
    """Baseline and canary of ten metrics, `common` correlated between metrics; (rows, metrics)."""
    both = []
    for _ in range(2):
        own = autoregressive(generator, (rows, METRICS), correlation)
        if common:
            shared = autoregressive(generator, (rows, 1), correlation)
            own = common**0.5 * shared + (1 - common) ** 0.5 * own
        both.append(10 + KINDS[kind](own))
    return both[0], both[1]


def worse(harm: np.ndarray, margin: float, min_rows: int) -> bool:
    """Judge the columns of an array as metrics that share the error rate alike.

    Only those columns are given to the judge of which the mean is above one ordinary standard
    error: the others cannot be called worse, and take time.
    """
    error = harm.std(axis=0) / len(harm) ** 0.5
    series = [
        Series(str(i), harm[:, i], margin, weight=1 / harm.shape[1])
        for i in np.flatnonzero(harm.mean(axis=0) > error)
    ]
    status = judge(series, error_rate=ERROR_RATE, min_rows=min_rows, matured=0.8).status
    return status == "worse"


def rollbacks(baseline: np.ndarray, canary: np.ndarray, points: int) -> set[str]:
    """Names of the judges that end an A/A rollout at one of its looks."""
    ended: set[str] = set()
    for look in range(1, LOOKS + 1):
        rows = look * points
        before, after = baseline[:rows], canary[:rows]
        harm = after - before
        if rows < MIN_ROWS:
            continue
        if "ours" not in ended and worse(harm, NO_MARGIN, MIN_ROWS):
            ended.add("ours")
        if "z" not in ended and any(
            z_test_worse(one, ERROR_RATE / METRICS) for one in harm.T if one.any()
        ):
            ended.add("z")
        if not {"any", "increase", "score"} <= ended:
            ended |= kayenta_ends(before, after)
    return ended


def kayenta_ends(before: np.ndarray, after: np.ndarray) -> set[str]:
    """Which of Kayenta's rules end it: any metric failed, any is High, score below 50."""
    labels: list[Label] = [classify(before[:, i], after[:, i]) for i in range(METRICS)]
    ends = {
        "any": not {"High", "Low"}.isdisjoint(labels),
        "increase": "High" in labels,
        "score": group_score(labels) < 50,
    }
    return {name for name, true in ends.items() if true}


def equal_table(repeat: int, cells: Sequence[tuple[str, int, float]]) -> dict[str, Any]:
    """False rollbacks of equal models, for each kind of value, points a look and correlation."""
    print(f"A/A: rolled back within {LOOKS} looks by {METRICS} metrics, %, {repeat} rollouts a row")
    print(f"least rows {MIN_ROWS}, no margin; Kayenta: one look is enough to end a rollout")
    head = ("ours", "z", "any", "increase", "score")
    names = ("judge", "z-test", "K. any metric", "K. any High", "K. score < 50")
    print(f"{'values':24}{'a look':>7}{'corr.':>6}  " + "".join(f"{n:>15}" for n in names))
    figures: dict[str, Any] = {}
    for kind, points, common in cells:
        for correlation in CORRELATIONS:
            generator = np.random.default_rng([points, round(10 * correlation), len(kind)])
            counts = dict.fromkeys(head, 0)
            for _ in range(repeat):
                one = equal_models(generator, points * LOOKS, correlation, kind, common)
                for name in rollbacks(*one, points):
                    counts[name] += 1
            label = f"{kind}, metrics correlated" if common else kind
            cells_text = "".join(f"{share(counts[name], repeat):>15}" for name in head)
            print(f"{label:24}{points:7}{correlation:6}  {cells_text}", flush=True)
            figures[f"{label}/{points}/{correlation}"] = {
                name: count / repeat for name, count in counts.items()
            }
    return figures


def bounds_table(repeat: int) -> dict[str, Any]:
    """How often `low` is ever above the mean, or `high` ever below it, of one dependent series."""
    rates, looks = (ERROR_RATE, ERROR_RATE / METRICS), range(120, LOOKS * 60 + 1, 60)
    print(f"\nBounds ever wrong at {len(looks)} looks from row 120 on, %, {repeat} series a row")
    print(f"{'values':24}{'corr.':>6}", end="")
    print(
        "".join(f"{f'{side}, {100 * rate:g} %':>14}" for rate in rates for side in ("low", "high"))
    )
    means = {"lognormal": np.exp(0.5), "exponential": 1.0, "0/1, 5 %": 0.05, "0/1, 1 %": 0.01}
    figures: dict[str, Any] = {}
    for kind, transform in KINDS.items():
        for sign in (1, -1) if kind in ("lognormal", "exponential") else (1,):
            for correlation in CORRELATIONS[::2]:
                generator = np.random.default_rng([len(kind), round(10 * correlation)])
                normal = autoregressive(generator, (looks[-1], repeat), correlation)
                series, mean = sign * transform(normal).T, sign * means.get(kind, 0.0)
                wrong = np.zeros((2, 2), dtype=int)
                for values in series:
                    for place, rate in enumerate(rates):
                        seen = [bounds(values[:n], error_rate=rate) for n in looks]
                        wrong[place, 0] += any(one.low > mean for one in seen)
                        wrong[place, 1] += any(one.high < mean for one in seen)
                name = f"{kind}, negative" if sign < 0 else kind
                text = "".join(f"{share(int(one), repeat):>14}" for one in wrong.ravel())
                print(f"{name:24}{correlation:6}{text}", flush=True)
                figures[f"{name}/{correlation}"] = (wrong / repeat).tolist()
    return figures


def power_table(repeat: int) -> dict[str, Any]:
    """Errors of 5 % against more: how often each judge finds it within an hour."""
    print(f"\nPower, %: {ROWS_A_MINUTE} rows a minute and model, {MINUTES} minutes, unpaired, one")
    print(
        f"metric, margin {POWER_MARGIN}, {repeat} rollouts a row; Kayenta and z-test look once, at"
    )
    print(f"the end; the judge looks every 2.5 minutes from minute {MIN_ROWS} (or 30) on")
    print(
        f"{'errors':>8}{'judge':>13}{'judge from 30':>15}{'judge of 10':>13}{'Kayenta':>13}", end=""
    )
    print(f"{'z-test':>13}")
    figures: dict[str, Any] = {}
    looks = np.unique(np.linspace(2.5, MINUTES, LOOKS).astype(int))
    for rate in (0.05, 0.055, 0.06, 0.0625, 0.065, 0.07, 0.08):
        generator = np.random.default_rng(round(1e4 * rate))
        found = dict.fromkeys(("judge", "from 30", "of 10", "kayenta", "z"), 0)
        for _ in range(repeat):
            before, after = (
                generator.binomial(ROWS_A_MINUTE, one, MINUTES) / ROWS_A_MINUTE
                for one in (0.05, rate)
            )
            harm = after - before
            found["judge"] += _found(harm, looks, MIN_ROWS, 1.0)
            found["from 30"] += _found(harm, looks, 30, 1.0)
            found["of 10"] += _found(harm, looks, MIN_ROWS, 0.1)
            found["kayenta"] += classify(before, after) == "High"
            found["z"] += z_test_worse(harm, ERROR_RATE)
        widths = (13, 15, 13, 13, 13)
        text = "".join(
            f"{share(n, repeat):>{w}}" for n, w in zip(found.values(), widths, strict=True)
        )
        print(f"{100 * rate:7.2f}%{text}", flush=True)
        figures[str(rate)] = {name: count / repeat for name, count in found.items()}
    return figures


def _found(harm: np.ndarray, looks: np.ndarray, min_rows: int, weight: float) -> bool:
    """Tell whether a harm is called worse at any look."""
    return any(
        judge(
            [Series("errors", harm[:look], POWER_MARGIN, weight=weight)],
            error_rate=ERROR_RATE,
            min_rows=min_rows,
            matured=0.8,
        ).status
        == "worse"
        for look in looks
        if look >= min_rows
    )


def cases(repeat: int) -> dict[str, Any]:
    """The two cases in which Kayenta's judge passes what it should not."""
    print(f"\n7 of 10 points at 100 times the baseline, and so on; %, {repeat} draws")
    print(f"{'points':>6}{'judge: worse':>15}{'passed':>13}{'Kayenta: High':>15}")
    generator = np.random.default_rng(7)
    figures: dict[str, Any] = {}
    for points in (10, 20, 100):
        found = dict.fromkeys(("worse", "passed", "kayenta"), 0)
        for _ in range(repeat):
            before, after = generator.normal(100, 10, (2, points))
            bad = np.concatenate([generator.permutation(10) < 7 for _ in range(points // 10)])
            after = np.where(bad, 100 * after, after)
            series = [Series("latency", after - before, 1.0)]
            status = judge(series, error_rate=ERROR_RATE, min_rows=10, matured=0.8).status
            found["worse"] += status == "worse"
            found["passed"] += status in ("better", "not worse")
            found["kayenta"] += classify(before, after) == "High"
        text = "".join(
            f"{share(n, repeat):>{w}}" for n, w in zip(found.values(), (15, 13, 15), strict=True)
        )
        print(f"{points:6}{text}")
        figures[str(points)] = {name: n / repeat for name, n in found.items()}

    failing = [Series(str(i), np.full(500, np.nan), 0.1, error="timeout") for i in range(METRICS)]
    ours = judge(failing, error_rate=ERROR_RATE, min_rows=MIN_ROWS, matured=0.8).status
    score = group_score(["Error"] * METRICS)
    print(f"\nEvery metric errors: judge {ours}, Kayenta's score {score:.0f}")
    return figures | {"errors": ours, "score": score}


def main(arguments: list[str]) -> int:
    """Run the tables; fails where the judge misses what it promises."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rollouts, fewer rows")
    parser.add_argument("--repeat", type=int, default=300)
    parser.add_argument("--only", default="aa,bounds,power,cases,paired")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args(arguments)
    repeat = 20 if options.quick else options.repeat
    wanted, begun = options.only.split(","), time.perf_counter()
    figures: dict[str, Any] = {}
    if "aa" in wanted:
        cells = [("normal", points, 0.0) for points in (10, 60, 200)] + [("normal", 60, 0.5)]
        cells += [(kind, 60, 0.0) for kind in list(KINDS)[1:]]
        figures["aa"] = equal_table(repeat, cells[:1] if options.quick else cells)
    if "bounds" in wanted:
        figures["bounds"] = bounds_table(repeat)
    if "power" in wanted:
        figures["power"] = power_table(100 if options.quick else 2000)
    if "cases" in wanted:
        figures["cases"] = cases(100 if options.quick else 1000)
    if "paired" in wanted and "AIOS_DATASETS" in os.environ:
        from benchmarks.pairing import pairing_table

        figures["paired"] = pairing_table(30 if options.quick else 200)
    print(f"\n{time.perf_counter() - begun:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))
    return 0 if kept(figures) else 1


def kept(figures: dict[str, Any]) -> bool:
    """Tell whether the promises hold, within three standard errors of the simulation."""
    power, extremes = figures.get("power", {}).get("0.0625"), figures.get("cases")
    return (
        all(one["ours"] <= 0.10 for one in figures.get("aa", {}).values())
        and (not power or power["judge"] >= power["kayenta"] - 0.03)
        and (not extremes or safe(extremes))
        and all(one["ratio"] >= 2 for one in figures.get("paired", {}).values())
    )


def safe(extremes: dict[str, Any]) -> bool:
    """Tell whether the extreme cases were found, and none of them passed."""
    return (
        extremes["20"]["worse"] > 0.9
        and all(extremes[points]["passed"] == 0 for points in ("10", "20", "100"))
        and extremes["errors"] == "insufficient"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
