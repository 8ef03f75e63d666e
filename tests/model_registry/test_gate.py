from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.errors import AiosError
from model_registry.gate import apply, gate
from tests.model_registry.recipes import enrol

RULES = {
    "metric": "roc_auc",
    "floor": 0.6,
    "margin": 0.02,
    "confidence": 0.8,
    "min_rows": 100,
    "min_per_class": 10,
}


def rows(n=2_000, seed=0):
    """Labels, and a function that gives scores of a chosen strength."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < 0.3).astype(float)

    def scores(strength, noise_seed=0):
        noise = np.random.default_rng(noise_seed).normal(size=n)
        return 1 / (1 + np.exp(-(strength * label + noise)))

    return label, scores


def judge(label, challengers, champion=None, **changed):
    return gate("classification", label, challengers, champion, **{**RULES, **changed})


@pytest.mark.unit
class TestVerdict:
    def test_best_of_the_passing_is_chosen(self):
        label, scores = rows()
        verdict = judge(label, {"a": scores(1), "b": scores(2), "c": scores(0)})
        assert {name: v.status for name, v in verdict.candidates.items()} == {
            "a": "pass",
            "b": "pass",
            "c": "fail",
        }
        assert (verdict.chosen, verdict.status) == ("b", "pass")

    def test_good_candidate_that_is_worse_than_the_champion_fails(self):
        label, scores = rows()
        verdict = judge(label, {"a": scores(1)}, champion=scores(2))
        assert verdict.chosen is None
        assert verdict.candidates["a"].difference.high < -0.02
        assert "may be worse by more than 0.02" in verdict.candidates["a"].reasons[0]

    def test_equal_candidate_is_not_inferior(self):
        label, scores = rows()
        assert judge(label, {"a": scores(1)}, champion=scores(1)).chosen == "a"

    def test_margin_too_narrow_for_the_evidence_fails(self):
        label, scores = rows(n=300)
        candidate, champion = scores(1, noise_seed=2), scores(1, noise_seed=1)
        narrow = judge(label, {"a": candidate}, champion=champion, margin=0.0)
        assert narrow.status == "fail"
        assert judge(label, {"a": candidate}, champion=champion, margin=0.5).status == "pass"

    def test_a_champion_below_the_floor_does_not_shut_out_what_is_better(self):
        label, scores = rows()
        weak, useless = scores(0.2), scores(-0.5)
        assert judge(label, {"a": weak}).status == "fail"
        assert judge(label, {"a": weak}, champion=useless).chosen == "a"
        assert judge(label, {"a": useless}, champion=weak).status == "fail"

    def test_where_lower_is_better_the_floor_is_a_ceiling(self):
        rng = np.random.default_rng(0)
        label = rng.normal(size=500)
        near, far = label + rng.normal(size=500) / 10, label + rng.normal(size=500)
        verdict = gate(
            "regression",
            label,
            {"far": far, "near": near},
            None,
            **{**RULES, "metric": "rmse", "floor": 0.5},
        )
        assert verdict.chosen == "near"
        assert verdict.candidates["far"].status == "fail"
        assert "is not at most 0.5" in verdict.candidates["far"].reasons[0]

    def test_unknown_metric_is_refused(self):
        label, scores = rows()
        with pytest.raises(AiosError, match="unknown metric 'auc'"):
            judge(label, {"a": scores(1)}, metric="auc")


@pytest.mark.unit
class TestMissingEvidence:
    def test_one_missing_score_is_insufficient(self):
        label, scores = rows()
        holed = scores(3)
        holed[7] = np.nan
        verdict = judge(label, {"a": holed, "b": scores(1)})
        assert verdict.candidates["a"].status == "insufficient"
        assert verdict.chosen == "b"

    def test_missing_score_of_a_row_without_label_does_not_matter(self):
        label, scores = rows()
        holed = scores(3)
        label[7] = holed[7] = np.nan
        assert judge(label, {"a": holed}).status == "pass"

    def test_missing_champion_score_is_insufficient_for_all(self):
        label, scores = rows()
        champion = scores(0)
        champion[0] = np.nan
        verdict = judge(label, {"a": scores(3)}, champion=champion)
        assert (verdict.status, verdict.chosen) == ("insufficient", None)
        assert "champion has no finite score" in verdict.candidates["a"].reasons[0]

    def test_failed_training_is_insufficient(self):
        label, _ = rows()
        assert judge(label, {"a": None}).status == "insufficient"

    def test_scores_of_other_rows_are_insufficient(self):
        label, scores = rows()
        assert judge(label, {"a": scores(3)[:-1]}).status == "insufficient"

    def test_too_few_rows_are_insufficient(self):
        label, scores = rows(n=99)
        verdict = judge(label, {"a": scores(3)})
        assert verdict.candidates["a"].reasons == (
            "99 held-out rows have a label, 100 are needed.",
        )

    @pytest.mark.parametrize("value", [0, 1])
    def test_too_few_of_a_class_are_insufficient(self, value):
        label, scores = rows()
        label = np.full_like(label, 1 - value)
        label[:9] = value
        verdict = judge(label, {"a": scores(3)})
        assert verdict.status == "insufficient"
        assert f"9 of them have label {value}, 10 are needed." in verdict.candidates["a"].reasons

    def test_no_candidates_is_insufficient(self):
        label, _ = rows()
        assert judge(label, {}).status == "insufficient"

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 400), st.floats(0, 1), st.floats(0, 1), st.integers(0, 5))
    def test_nothing_passes_on_less_than_the_evidence_asked_for(self, n, base, holes, seed):
        rng = np.random.default_rng(seed)
        label = (rng.random(n) < base).astype(float)
        label[rng.random(n) < holes] = np.nan
        verdict = judge(label, {"a": np.nan_to_num(label)})
        known = label[np.isfinite(label)]
        enough = len(known) >= 100 and min((known == 0).sum(), (known == 1).sum()) >= 10
        assert verdict.status == ("pass" if enough else "insufficient")


@pytest.mark.unit
def test_challenger_worse_by_the_margin_seldom_passes():
    """At the margin's edge the rate of passing is one minus the one-sided level: 10 % of 80 %."""
    passed, runs, n, worse = 0, 600, 400, 0.1
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        label = rng.normal(size=n)
        champion = label + rng.exponential(1.0, n)
        challenger = label + rng.exponential(1.0 + worse, n)
        rules = RULES | {"metric": "mae", "floor": 9.0, "margin": worse}
        passed += gate("regression", label, {"a": challenger}, champion, **rules).status == "pass"
    assert 0.06 < passed / runs < 0.14


@pytest.mark.loop
class TestApply:
    def verdict(self):
        label, scores = rows()
        return judge(label, {"good": scores(2), "bad": scores(0), "none": None})

    def test_moves_versions_to_their_stages_with_the_reasons(self, registry, boosting):
        versions = {
            name: enrol(registry, name, boosting, candidate=name)
            for name in ("good", "bad", "none")
        }
        apply(registry, self.verdict(), versions)
        stages = {version.candidate: version.stage for version in registry.versions("claims")}
        assert stages == {"good": "gated", "bad": "rejected", "none": "registered"}
        said = json.loads(registry.get("claims", 1).tags["aios.gate"])
        assert said["status"] == "pass"
        assert said["chosen"] is True
        assert said["estimate"]["value"] > 0.6
        assert "## Gate\n\n**fail**" in registry.get("claims", 2).card

    def test_later_decisions_stay(self, registry, boosting):
        version = enrol(registry, "good", boosting, candidate="good")
        registry.set_stage(version, "champion")
        apply(registry, self.verdict(), {"good": version})
        assert registry.get("claims", 1).stage == "champion"
