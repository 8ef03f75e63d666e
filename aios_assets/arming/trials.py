"""One trial: a version taken through a whole replayed rollout, partition by partition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from aios.rollouts import places
from aios_assets.arming.windows import ORIGIN, ends, on_window_time
from aios_assets.lifecycle.rollout_evidence import Rows, series_of

if TYPE_CHECKING:
    from aios_assets.arming.history import History
    from aios_assets.arming.versions import Version
    from model_registry.findings import Finding
    from model_registry.judge import Verdict
    from model_registry.stages import Move

Outcome = Literal["worse", "promoted", "undecided"]
_CHAMPION, _CHALLENGER = 1, 2


@dataclass(frozen=True)
class Trial:
    """How a replayed rollout went.

    Attributes:
        outcome: Whether it ended as worse, became champion and stayed so, or came to no verdict.
        stage: Where the version stood when it ended.
        partitions: Partitions that it took.
        rows: Rows of these.
        metrics: What was worse, over the whole rollout or since a partition of it.
        decided: Share of the rows that the version decided before it was promoted.
        most: Largest share that it decided of any one partition before it was promoted.
        promoted: Whether it was ever champion.
        harm: Realised loss beyond the champion's on all labelled rows, as a share of that.
        missing: Share of the rows that it did not score though the champion did.
        slower: Extra time for a row as a share of the champion's, the median slice.
    """

    outcome: Outcome
    stage: str
    partitions: int
    rows: int
    metrics: tuple[str, ...]
    decided: float
    most: float
    promoted: bool
    harm: float
    missing: float
    slower: float


def play(
    history: History,
    champion: Version,
    challenger: Version,
    window: Sequence[int],
    rng: np.random.Generator,
) -> Trial:
    """Take a version through its rollout in a window of history.

    At the end of each partition the paired rows so far, with the labels known by then, become
    series, the judge's verdict, and the next move, as in a real rollout. A promoted version is
    watched for the time declared as `reopen`.

    Args:
        history: What is replayed.
        champion: Who decides.
        challenger: Who is rolled out.
        window: Positions of the partitions, in order.
        rng: Draws who is in the canary, and which timings are seen.
    """
    return _Rollout(history, champion, challenger, list(window), rng).run()


class _Rollout:
    def __init__(
        self,
        history: History,
        champion: Version,
        challenger: Version,
        window: list[int],
        rng: np.random.Generator,
    ) -> None:
        self.history, self.champion, self.challenger = history, champion, challenger
        self.window, self.ends = window, ends(history.parts, window)
        self.rows = self._paired()
        self.salt = f"{history.automation.name}/{rng.integers(1 << 62)}"
        turns = rng.integers(0, len(champion.pace), size=len(window))
        self.ratios = [challenger.pace[turn] / champion.pace[turn] - 1 for turn in turns]
        self.here = self._move("shadow", 0.0, ORIGIN)
        self.stage_from = 0  # Slot at which the present stage began.
        self.shares: list[float] = []
        self.counts: list[int] = []

    def run(self) -> Trial:
        from model_registry.findings import next_move

        declared = self.history.declared
        for slot, end in enumerate(self.ends):
            if self.here.state == "champion" and end > self.here.at + declared.reopen:
                return self._trial("promoted")
            self._count(slot)
            verdict = self._judge(slot, end)
            if verdict.status == "worse":
                return self._trial("worse", verdict)
            if self.here.state == "champion":
                continue
            to = next_move(declared, self.here, self._finding(verdict, slot))
            if to is None:
                continue
            if to.state in ("rejected", "rolled_back"):
                return self._trial("undecided")
            self.here, self.stage_from = self._move(to.state, to.share, end), slot + 1
        return self._trial("promoted" if self.here.state == "champion" else "undecided")

    def _judge(self, slot: int, end: datetime) -> Verdict:
        from model_registry.judge import judge

        declared = self.history.declared
        label = pl.when(pl.col("label_known_at") < end).then("label")
        # A slot begins where the one before it ends.
        starts = self.ends[:slot]
        frame = self.rows.filter(pl.col("slot") <= slot).with_columns(
            label=label,
            began=pl.lit(pl.Series([ORIGIN, *starts])).gather(pl.col("slot")),
        )
        seconds = [one for ratios in self.ratios[: slot + 1] for one in ratios.tolist()]
        series, _ = series_of(
            self.history.automation, Rows(frame, seconds), self.history.curve, starts, end,
            arrived=self.here.state == "champion",
        )  # fmt: skip
        return judge(
            series,
            error_rate=declared.error_rate,
            min_rows=declared.min_rows,
            matured=declared.matured,
        )

    def _finding(self, verdict: Verdict, slot: int) -> Finding:
        from model_registry.findings import Finding

        partitions = slot + 1 - self.stage_from
        return Finding(
            _CHALLENGER, -1, verdict.status, verdict.provisional, partitions, verdict.reasons
        )

    def _count(self, slot: int) -> None:
        """Note which share of a partition's rows the version decides."""
        rows = self.history.parts[self.window[slot]].rows
        self.counts.append(rows.height)
        share = self.here.share
        if 0 < share < 1 and self.here.state != "champion":
            spec = self.history.automation.spec
            unit = spec.id if self.history.declared.unit == "id" else spec.entity
            share = float(np.mean(places(rows[unit].to_list(), self.salt) < share))
        self.shares.append(share)

    def _trial(self, outcome: Outcome, verdict: Verdict | None = None) -> Trial:
        before = self.stage_from if self.here.state == "champion" else len(self.shares)
        shares, counts = np.array(self.shares[:before]), np.array(self.counts[:before])
        worse = [one for one in verdict.metrics if one.status == "worse"] if verdict else []
        harm, missing = _realised(self.history, self.champion, self.challenger)
        return Trial(
            outcome,
            self.here.state,
            len(self.counts),
            sum(self.counts),
            tuple(dict.fromkeys(one.metric for one in worse)),
            float(shares @ counts / max(counts.sum(), 1)),
            float(shares.max(initial=0.0)),
            self.here.state == "champion",
            harm,
            missing,
            float(np.median(np.concatenate(self.ratios))),
        )

    def _paired(self) -> pl.DataFrame:
        """Return the rows of the whole window on its own time, seen from the version."""
        identity, frames = self.history.automation.spec.id, []
        for slot, (position, end) in enumerate(zip(self.window, self.ends, strict=True)):
            part = self.history.parts[position]
            frames.append(
                part.rows.select(
                    identity,
                    "label",
                    *on_window_time(part, end),
                    *(
                        values
                        for side, version in (("own", self.challenger), ("other", self.champion))
                        for values in (
                            pl.Series(f"{side}_score", version.scores[position], nan_to_null=True),
                            version.outcomes[position].alias(f"{side}_outcome"),
                        )
                    ),
                    pl.lit(slot).alias("slot"),
                )
            )
        return pl.concat(frames)

    def _move(self, state: str, share: float, at: datetime) -> Move:
        from model_registry.stages import Move

        return Move(
            _CHALLENGER,
            state,  # type: ignore[arg-type]
            share,
            _CHAMPION,
            at=at,
            recorded_at=at,
            by="service:rollout",
            reason="replayed",
        )


def _realised(history: History, champion: Version, challenger: Version) -> tuple[float, float]:
    """Return the version's loss beyond the champion's as a share of it, and its missing rows."""
    label = history.live["label"].to_numpy()
    own, other = np.concatenate(challenger.scores), np.concatenate(champion.scores)
    both = np.isfinite(own) & np.isfinite(other) & np.isfinite(label)
    missing = float(np.mean(~np.isfinite(own) & np.isfinite(other)))
    if not both.any():
        return float("nan"), missing
    loss = np.mean((other[both] - label[both]) ** 2)
    extra = np.mean((own[both] - label[both]) ** 2) - loss
    return float(extra / loss) if loss > 0 else float("nan"), missing
