"""The offline bar: a candidate must be good enough, and not worse than the champion.

Both are measured on the same held-out rows. What cannot be measured does not pass.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from aios.errors import AiosError
from aios.statistics.comparison import Difference, paired_difference
from aios.statistics.metrics import HIGHER_IS_BETTER, Estimate, evaluate
from model_registry.cards import with_verdict
from model_registry.registry import DESCRIPTION_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model_registry.registry import ModelVersion, Registry, Stage

Status = Literal["pass", "fail", "insufficient"]
Task = Literal["classification", "regression", "extraction"]

GATE_TAG = "aios.gate"
STAGE_AFTER: dict[Status, Stage] = {
    "pass": "gated",
    "fail": "rejected",
    "insufficient": "registered",
}


@dataclass(frozen=True)
class CandidateVerdict:
    """How one candidate stands at the bar.

    Attributes:
        estimate: Its metric on the held-out rows, when it could be measured.
        difference: Its advantage over the champion; None without a champion.
        reasons: Why it has its status, each a sentence.
    """

    candidate: str
    status: Status
    estimate: Estimate | None
    difference: Difference | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class GateVerdict:
    """The gate's answer for all candidates of one training.

    Attributes:
        chosen: The passing candidate with the best estimate; None when none passes.
    """

    metric: str
    candidates: dict[str, CandidateVerdict]
    chosen: str | None

    @property
    def status(self) -> Status:
        """`pass` when one passes, else `fail` when one was measured and fell short."""
        found = {verdict.status for verdict in self.candidates.values()}
        if "pass" in found:
            return "pass"
        return "fail" if "fail" in found else "insufficient"


def gate(
    task: Task,
    label: np.ndarray,
    challengers: Mapping[str, np.ndarray | None],
    champion: np.ndarray | None,
    *,
    metric: str,
    floor: float,
    margin: float,
    confidence: float,
    min_rows: int,
    min_per_class: int,
) -> GateVerdict:
    """Judge every candidate on the same held-out rows.

    A candidate passes when its estimate reaches the floor and the lower bound of its paired
    advantage over the champion is at least `-margin` (non-inferiority). Where the champion itself
    falls short of the floor on these rows, the bar is the champion's own value: to refuse what is
    better would protect nobody from what decides now.

    Args:
        task: `classification` (labels 0 and 1), `regression`, or `extraction` (labels 1, scores
            the F1 of each document).
        label: Shape (n,).
        challengers: Scores by candidate, shape (n,); None where training or scoring failed.
        champion: The champion's scores, shape (n,); None when there is no champion yet.
        metric: A key of `aios.statistics.metrics.HIGHER_IS_BETTER`.
        floor: Least acceptable value; the largest acceptable one where lower is better.
        margin: Largest acceptable loss against the champion, in the metric's unit.
        confidence: Level of the two-sided interval whose lower bound is used.
        min_rows: Rows with a label that are needed.
        min_per_class: Rows of each label that a classification needs.
    """
    if metric not in HIGHER_IS_BETTER:
        raise AiosError(
            f"unknown metric {metric!r}",
            where="gate",
            fix=f"use one of: {', '.join(sorted(HIGHER_IS_BETTER))}",
        )
    label = np.asarray(label, dtype=np.float64)
    shortage = _shortage(task, label, min_rows, min_per_class)
    if champion is not None and not shortage and not _complete(champion, label):
        shortage = ("The champion has no finite score for every row to compare on.",)
    verdicts = {
        name: _judge(
            name, task, label, scores, champion, shortage, metric, floor, margin, confidence
        )
        for name, scores in challengers.items()
    }
    return GateVerdict(metric, verdicts, _best(metric, verdicts))


def apply(registry: Registry, verdict: GateVerdict, versions: Mapping[str, ModelVersion]) -> None:
    """Record each candidate's verdict on its version and card, and move the version's stage.

    A version that has been champion keeps its stage: what was decided later is not undone when a
    stage of the pipeline is run again.

    Args:
        registry: Where the versions are.
        verdict: Of the training that made the versions.
        versions: By candidate.
    """
    for name, version in versions.items():
        found = verdict.candidates[name]
        content = {"metric": verdict.metric, "chosen": verdict.chosen == name, **asdict(found)}
        text = json.dumps(content, default=float)
        with registry.writing(version.automation):
            registry.client.set_model_version_tag(
                version.automation, str(version.number), GATE_TAG, text
            )
            present = registry.get(version.automation, version.number)
            card = with_verdict(present.card, found, limit=DESCRIPTION_LIMIT)
            registry.client.update_model_version(version.automation, str(version.number), card)
            if present.stage not in ("champion", "retired"):
                registry.set_stage(version, STAGE_AFTER[found.status])


def _shortage(task: str, label: np.ndarray, min_rows: int, min_per_class: int) -> tuple[str, ...]:
    known = label[np.isfinite(label)]
    reasons = []
    if len(known) < min_rows:
        reasons.append(f"{len(known)} held-out rows have a label, {min_rows} are needed.")
    if task == "classification":
        for value in (0, 1):
            rows = int((known == value).sum())
            if rows < min_per_class:
                reasons.append(f"{rows} of them have label {value}, {min_per_class} are needed.")
    return tuple(reasons)


def _complete(scores: np.ndarray, label: np.ndarray) -> bool:
    scores = np.asarray(scores, dtype=np.float64)
    return scores.shape == label.shape and bool(np.isfinite(scores[np.isfinite(label)]).all())


def _judge(
    name: str,
    task: str,
    label: np.ndarray,
    scores: np.ndarray | None,
    champion: np.ndarray | None,
    shortage: tuple[str, ...],
    metric: str,
    floor: float,
    margin: float,
    confidence: float,
) -> CandidateVerdict:
    def insufficient(*reasons: str) -> CandidateVerdict:
        return CandidateVerdict(name, "insufficient", None, None, reasons)

    if scores is None:
        return insufficient("It has no scores: training or scoring failed.")
    if shortage:
        return insufficient(*shortage)
    if not _complete(scores, label):
        return insufficient("It has no finite score for every labelled row.")
    try:
        estimate = evaluate(task, label, scores, confidence).get(metric)
        difference = (
            paired_difference(metric, label, scores, champion, confidence=confidence)
            if champion is not None
            else None
        )
    except AiosError as error:
        return insufficient(f"It cannot be measured: {error.what}.")
    if estimate is None or not np.isfinite(estimate.value):
        return insufficient(f"{metric} is not defined on these rows.")
    if difference is not None and not np.isfinite(difference.low):
        return insufficient(f"The difference of {metric} is not defined on these rows.")
    if champion is not None:
        floor = _lowered(floor, metric, evaluate(task, label, champion, confidence)[metric].value)
    failures, successes = _compare(metric, estimate, difference, floor, margin)
    status: Status = "fail" if failures else "pass"
    return CandidateVerdict(name, status, estimate, difference, (*failures, *successes))


def _lowered(floor: float, metric: str, champion: float) -> float:
    """Return the bar: the floor, or the champion's own value where that is short of it."""
    return min(floor, champion) if HIGHER_IS_BETTER[metric] else max(floor, champion)


def _compare(
    metric: str, estimate: Estimate, difference: Difference | None, floor: float, margin: float
) -> tuple[list[str], list[str]]:
    failures: list[str] = []
    successes: list[str] = []
    higher = HIGHER_IS_BETTER[metric]
    reached = estimate.value >= floor if higher else estimate.value <= floor
    bar = f"{'at least' if higher else 'at most'} {floor:.4g}"
    said = f"{metric} {estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"
    (successes if reached else failures).append(
        f"{said} is {bar}." if reached else f"{said} is not {bar}."
    )
    if difference is None:
        successes.append("There is no champion to compare with.")
    else:
        held = difference.low >= -margin
        said = (
            f"Its advantage over the champion is {difference.value:+.4f} "
            f"[{difference.low:+.4f}, {difference.high:+.4f}] on {difference.n} rows"
        )
        (successes if held else failures).append(
            f"{said}: not worse by more than {margin:.4g}."
            if held
            else f"{said}: it may be worse by more than {margin:.4g}."
        )
    return failures, successes


def _best(metric: str, verdicts: Mapping[str, CandidateVerdict]) -> str | None:
    passing = {
        name: verdict.estimate.value
        for name, verdict in verdicts.items()
        if verdict.status == "pass" and verdict.estimate
    }
    if not passing:
        return None
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    return max(passing, key=lambda name: sign * passing[name])
