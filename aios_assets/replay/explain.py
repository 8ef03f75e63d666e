"""Why replayed rows differ: which input, which version, or which stored file was changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import polars as pl

from aios.archive import environment, made_by
from aios.digest import row_digests
from aios.lake import Lake
from aios.steps import Step
from aios.windows import Window, window_at
from aios_assets.replay.difference import Difference, Example, Tally
from aios_assets.replay.house import House
from aios_assets.replay.stages import content_columns

Kind = Literal["input", "version", "record"]
_NAMES_VERSION = {"code_version", "policy_hash", "model_version"}
_LISTED = 5


@dataclass(frozen=True)
class Finding:
    """One cause of differences.

    Attributes:
        kind: An "input" is not what it was, a "version" gives something else, or what is stored
            is not what was made (the "record").
        stage: Where it shows.
        column: In which column; "row" or "order" where a row is missing or moved.
        rows: In how many rows it is the first thing that differs.
        text: In words, with the first of the values.
    """

    kind: Kind
    stage: str
    column: str
    rows: int
    text: str


def explain(
    house: House, window: Window, tally: Tally, made_by_code: str | None = None
) -> list[Finding]:
    """Explain a partition's differences, most frequent first.

    Args:
        house: Of the code version that decided.
        window: The partition.
        tally: What was found.
        made_by_code: The code version that made the stored features, where it is another one.
    """
    found = [_finding(house, window, stage, column, rows, tally)
             for (stage, column), rows in tally.causes.most_common()]  # fmt: skip
    for stage, rows in tally.extra.items():
        text = f"{stage} holds {rows} rows of no stored event, or twice"
        found.append(Finding("record", stage, "row", rows, text))
    if made_by_code is None:
        return found
    code = house.automation.code_version
    text = f"code version {made_by_code} gives the stored features, and {code} decided on them"
    return [
        replace(one, kind="version", text=f"{one.text.partition(': the stored row')[0]}: {text}")
        if one.stage == "features"
        else one
        for one in found
    ]


def notes(house: House, window: Window, policy_hash: str | None, tally: Tally) -> list[str]:
    """Say what else is not as it was when the partition was decided."""
    lake, key, said = house.stored, window.key, list(tally.notes)
    if house.archived:
        code = house.automation.code_version
        said.append(f"replayed with code version {code} from the archive; the folder has another")
    if policy_hash is not None and house.automation.policy.hash != policy_hash:
        own = house.automation.policy.hash
        said.append(f"policy {policy_hash} is named; the recorded code version's policy is {own}")
    then, now = made_by(lake, key), environment()
    changed = [
        f"{name} {then.get(name, 'none')} -> {now.get(name, 'none')}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    if then and changed:
        said.append(f"the environment changed since: {', '.join(changed)}")
    if tally.causes:
        said += _changed_inputs(house, window)
    return said


def _finding(
    house: House, window: Window, stage: str, column: str, rows: int, tally: Tally
) -> Finding:
    if column in ("row", "order"):
        what = "is not stored" if column == "row" else "is stored in another place"
        text = f"{stage}: the row of {rows} events {what}"
        return Finding("record", stage, column, rows, text)
    example = tally.examples[stage, column]
    kind, why = _why(house, window, example)
    return Finding(kind, stage, column, rows, f"{_values(example.difference)}: {why}")


def _values(one: Difference) -> str:
    event = f"{one.event}@{one.revision}" if one.revision else f"{one.event}"
    return (
        f"{one.stage}, `{one.column}` of event {event}: stored {_shown(one.stored)}, "
        f"recomputed {_shown(one.recomputed)}"
    )


def _shown(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _why(house: House, window: Window, example: Example) -> tuple[Kind, str]:
    stage, spec = example.difference.stage, house.automation.spec
    for step in spec.steps:
        if step.name == stage:
            return _why_step(step, example)
    if stage == "events":
        return "input", "the event was changed after it arrived: it no longer has its digest"
    if stage == "features":
        return _why_feature(house, example)
    if stage == "predictions":
        return _why_prediction(house, window, example)
    return _why_decision(house, example)


def _why_step(step: Step, example: Example) -> tuple[Kind, str]:
    if step.kind == "query":
        return "input", _ASKED_AGAIN
    version = example.stored.get(f"{step.name}_version")
    who = f"model version {version}" if step.model else "the step's function"
    return "record", f"from the same inputs {who} {_SOMETHING_ELSE}"


def _why_feature(house: House, example: Example) -> tuple[Kind, str]:
    kinds = house.automation.spec.feature_columns
    if all(name in example.stored for name in kinds):
        row = pl.DataFrame(
            {name: [example.stored[name]] for name in kinds},
            schema={n: pl.Float64 if kind == "number" else pl.String for n, kind in kinds.items()},
        )
        if row_digests(row)[0] != example.stored.get("feature_digest"):
            return "record", _LOST_ITS_DIGEST
    code = house.automation.code_version
    return "input", f"{_KEEPS_ITS_DIGEST} than version {code}"


def _why_prediction(house: House, window: Window, example: Example) -> tuple[Kind, str]:
    one = example.difference
    if one.column in _NAMES_VERSION:
        return "version", "the decisions name the other version"
    decided = _decision(house, window, one)
    if decided is not None and decided.get(one.column) == one.recomputed:
        return "record", _DECIDED_ON_THE_OTHER
    version = example.recomputed.get("model_version")
    return "version", f"model version {version} gives another value for the same features"


def _why_decision(house: House, example: Example) -> tuple[Kind, str]:
    one, policy = example.difference, house.automation.policy.hash
    if one.column in _NAMES_VERSION or one.column.endswith("_version"):
        named = one.column.replace("_", " ")
        return "version", f"this row names another {named} than what decided its partition"
    if example.stored.get("policy_hash") != policy:
        code = house.automation.code_version
        return "version", f"the row's policy is not policy {policy} of code version {code}"
    return "record", _DECIDES_OTHERWISE


_ASKED_AGAIN = (
    "a query step was asked again and answered otherwise; what follows was replayed on the stored "
    "answer, on which the decision was made"
)
_SOMETHING_ELSE = "gives something else: what is stored was changed, or depends on more than that"
_LOST_ITS_DIGEST = (
    "the stored row no longer has its own digest, so it was changed after it was made"
)
_KEEPS_ITS_DIGEST = (
    "the stored row still has its own digest, so it was made from other inputs or by other code"
)
_DECIDED_ON_THE_OTHER = (
    "the decision holds the recomputed value, so the stored prediction was changed afterwards"
)
_DECIDES_OTHERWISE = (
    "features, score and versions agree and they decide otherwise, so the stored decision was "
    "changed after it was made"
)


def _decision(house: House, window: Window, one: Difference) -> dict[str, Any] | None:
    table = pl.scan_parquet(house.stored.path("decisions", window.key), glob=False)
    same = (pl.col(house.automation.spec.id) == one.event) & (pl.col("revision") == one.revision)
    found = table.filter(same).collect()
    return found.row(0, named=True) if found.height else None


def _changed_inputs(house: House, window: Window) -> list[str]:
    """Look for what earlier partitions lost or had changed, as far as features look back."""
    spec, lake = house.automation.spec, house.stored
    back = max([view.lookback for view in spec.features] + [step.lookback for step in spec.steps])
    since = window_at(spec.cadence, window.start - back).key
    said = []
    for key in lake.partitions("events"):
        if not since <= key < window.key:
            continue
        said += _changed_events(house, lake, key)
        made = [step.name for step in spec.steps] + [f"views/{view.name}" for view in spec.features]
        said += [f"{one} of {key} is missing: {lake.path(one, key)}"
                 for one in made if not lake.has(one, key)]  # fmt: skip
        if lake.path("events", key).stat().st_mtime > _made_at(lake, window.key):
            said.append(f"events of {key}, which features look back at, were written again later")
    return said


def _made_at(lake: Lake, key: str) -> float:
    return lake.path("features", key).stat().st_mtime if lake.has("features", key) else 0.0


def _changed_events(house: House, lake: Lake, key: str) -> list[str]:
    columns, identity = content_columns(house.automation), house.automation.spec.id
    frame = lake.read("events", key)
    wrong = frame.filter(row_digests(frame.select(columns)) != frame["content_digest"])
    if wrong.is_empty():
        return []
    shown = ", ".join(str(one) for one in wrong[identity].head(_LISTED))
    return [f"{wrong.height} events of {key} were changed after they arrived: {shown}"]
