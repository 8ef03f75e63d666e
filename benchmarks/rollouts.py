"""What rollouts cost where versions are good, and what they keep out where versions do harm.

`python -m benchmarks.rollouts [marketing claims simulated]` needs AIOS_DATASETS. Each history is
rehearsed three times: with immediate promotion, with a rollout, and with a rollout where every
training after the first makes a harmful version that the gate is told to let through.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import yaml
from rich.console import Console
from rich.table import Table

from aios.settings import PROJECT, Settings
from aios.statistics.metrics import evaluate
from benchmarks.tables import cases

console = Console()
DATA = Path(os.environ.get("AIOS_DATASETS", "datasets"))
CLAIMS = PROJECT / "aios_assets" / "automations" / "claims"
PASSES = {"floor": 0.0, "margin": 1.0, "min_rows": 20}
HARM = '''"""A recipe that does harm from its second training on: it learns from wrong labels."""

import zlib

import numpy as np

from . import models

SHARES = [0.3, 0.5, 0.7, 1.0]


def harmful(features, label, *, seed, good, first, **params):
    """Fit the good recipe; beyond `first` rows to labels of which a share is wrong."""
    recipe = getattr(models, good)
    if len(label) <= first:
        return recipe(features, label, seed=seed, **params)
    seed_of = zlib.crc32(label.tobytes())
    random = np.random.default_rng(seed_of)
    wrong = random.random(len(label)) < SHARES[seed_of % len(SHARES)]
    label = np.where(wrong, 1 - label, label)
    return recipe(features, label, seed=seed, **params)
'''


@dataclass(frozen=True)
class History:
    """An automation's history to rehearse."""

    name: str
    data: Path | None
    rollout: dict[str, Any]
    good: str
    first: int


def histories() -> dict[str, History]:
    """Return the histories by name."""
    tables = DATA / "bank_marketing" / "calls_timed.csv"
    real = DATA / "vehicle_claims_fraud" / "claims_1994_1995.csv"
    weekly = {"unit": "id", "canary": [0.5], "matured": 0.6}
    monthly = yaml.safe_load((CLAIMS / "defs.yaml").read_text())["attributes"]["rollout"]
    return {
        "marketing": History("marketing", tables, weekly, "blend", 2000),
        "claims": History("claims", real, monthly, "gradient_boosting", 700),
        "simulated": History("claims", None, monthly, "gradient_boosting", 700),
    }


def write_folder(history: History, home: Path) -> Path:
    """Write the automation's folder below a home and return it."""
    folder = home / "automations" / history.name
    if history.name == "claims":
        shutil.copytree(CLAIMS, folder, ignore=shutil.ignore_patterns("__pycache__"))
        return folder
    from aios_assets.scaffold import scaffold

    case = cases(home)[history.name]
    folder.parent.mkdir(parents=True)
    scaffold(
        history.name, data=case.path, entity=case.entity, time=case.time, target=case.target,
        task=None, cadence=case.cadence, label_delay=f"{case.delay.days}d",
        automations=folder.parent,
    )  # fmt: skip
    return folder


def declare(folder: Path, **changes: Any) -> None:
    """Change attributes of a declaration; None takes one out."""
    path = folder / "defs.yaml"
    document = yaml.safe_load(path.read_text())
    attributes = document["attributes"] | {"promotion": "automatic"} | changes
    document["attributes"] = {name: one for name, one in attributes.items() if one is not None}
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def run(history: History, home: Path, **changes: Any) -> tuple[Any, Any, Settings]:
    """Rehearse a history with changes to its declaration."""
    from aios_assets.rehearsal import rehearse

    folder = write_folder(history, home)
    (folder / "harm.py").write_text(HARM)
    declare(folder, **changes)
    settings = Settings.embedded(home / "state", home / "automations")
    automation, windows, _ = rehearse(
        history.name, settings, data=history.data, progress=lambda *said: None
    )
    return automation, windows, settings


def roc_auc(history: History, home: Path, **changes: Any) -> Any:
    """Rehearse and return the ROC-AUC of the scores that decided, on every outcome."""
    from aios_assets.report import predictions_frame
    from aios_assets.resources import Platform

    automation, windows, settings = run(history, home, **changes)
    rows = predictions_frame(automation, Platform(settings).lake(history.name), windows)
    rows = rows.drop_nulls(["score", "label"])
    return evaluate("classification", rows["label"].to_numpy(), rows["score"].to_numpy())["roc_auc"]


def keep_out(history: History, home: Path) -> list[dict[str, Any]]:
    """Rehearse with harmful versions; return for each what it did before it was stopped."""
    from aios_assets.lifecycle.assignment import kept
    from aios_assets.resources import Platform
    from model_registry.champion import history as changes_of
    from model_registry.rollout import moves

    candidate = {
        "name": "harmful",
        "train": "harm:harmful",
        "params": {"good": history.good, "first": history.first},
    }
    automation, windows, settings = run(
        history, home, rollout=history.rollout, candidates=[candidate], gate=PASSES,
        retrain={"triggers": ["labels"], "growth": 0.0001, "cooldown": "7d"},
    )  # fmt: skip
    platform = Platform(settings)
    lake, known = platform.lake(history.name), moves(platform.log, history.name)
    champions = {one.version for one in changes_of(platform.registry, history.name)}
    labels = pl.concat([lake.read("labels", key) for key in lake.partitions("labels")])
    found = []
    for version in sorted({move.version for move in known}):
        rows, over, decided = [], 0, 0
        for window in windows:
            assigned = kept(lake, window.key)
            if assigned is None or assigned.challenger != version:
                continue
            shadow = lake.read("shadow", window.key)
            own = lake.read("predictions", window.key)
            by_it = (own["model_version"] == version).fill_null(False)
            decided += int(by_it.sum())
            over += int((by_it.to_numpy() & ~assigned.canary(own)).sum())
            rows.append(shadow.join(labels, on=automation.spec.id, how="inner"))
        if not rows:
            continue
        frame = pl.concat(rows).drop_nulls(["champion_score", "challenger_score"])
        loss = [
            float(((frame[f"{who}_score"] - frame["label"]) ** 2).mean() or np.nan)  # type: ignore[arg-type]
            for who in ("challenger", "champion")
        ]
        path = [move.state for move in known if move.version == version]
        found.append(
            {
                "version": version,
                "harm": loss[0] / loss[1] - 1,
                "path": " > ".join(path),
                "decided": decided,
                "over": over,
                "champion": version in champions,
            }
        )
    return found


def main() -> None:
    """Run the named histories, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--skip", choices=["cost", "harm"], default=None)
    arguments = parser.parse_args()
    known = histories()
    for name in arguments.names or known:
        history = known[name]
        if arguments.skip != "cost":
            with TemporaryDirectory() as first, TemporaryDirectory() as second:
                at_once = roc_auc(history, Path(first), rollout=None)
                staged = roc_auc(history, Path(second), rollout=history.rollout)
            console.print(
                f"{name}: ROC-AUC {at_once.value:.4f} [{at_once.low:.4f}, {at_once.high:.4f}] "
                f"promoted at once, {staged.value:.4f} [{staged.low:.4f}, {staged.high:.4f}] "
                f"with rollouts, {staged.n:,} rows: {staged.value - at_once.value:+.4f}"
            )
        if arguments.skip != "harm":
            with TemporaryDirectory() as directory:
                report(name, keep_out(history, Path(directory)))


def report(name: str, found: list[dict[str, Any]]) -> None:
    """Print what harmful versions did."""
    table = Table(title=f"{name}: versions that do harm")
    for head in ("version", "loss against the champion's", "path", "decided", "beyond its share"):
        table.add_column(head)
    for one in found:
        table.add_row(
            str(one["version"]), f"{one['harm']:+.0%}", one["path"], f"{one['decided']:,}",
            f"{one['over']:,}{', champion' if one['champion'] else ''}",
        )  # fmt: skip
    console.print(table)
    harmful = [one for one in found if one["harm"] > 0.1]
    ends = Counter(one["path"].rpartition(" > ")[2] for one in harmful)
    beyond = sum(one["over"] > 0 or one["champion"] for one in harmful)
    console.print(
        f"{name}: {len(harmful)} harmful versions, {beyond} decided more than their share; "
        f"ended {dict(ends)}"
    )


if __name__ == "__main__":
    main()
