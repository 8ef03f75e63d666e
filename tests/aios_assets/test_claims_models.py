from __future__ import annotations

import io

import numpy as np
import pytest

from aios.errors import AiosError
from aios_assets.automations.claims import models

pd = pytest.importorskip("pandas")
pytestmark = pytest.mark.unit

PROTECTED = {"sex", "age", "age_group", "marital_status"}


def frame(rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    words = {name: rng.choice(["red", "green", "blue"], rows) for name in models.WORDS}
    numbers = {name: rng.integers(0, 6, rows).astype(float) for name in models.NUMBERS}
    found = pd.DataFrame({**words, **numbers}).astype(dict.fromkeys(models.WORDS, object))
    return found.mask(rng.random(found.shape) < 0.05, np.nan)


def fraud(features: pd.DataFrame, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    logit = 2.0 * (features["fault"] == "red") + 0.6 * features["past_claims"].fillna(2) - 4
    return (rng.random(len(features)) < 1 / (1 + np.exp(-logit))).astype(float)


def boosting_scores(features: pd.DataFrame, label: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
    fitted = models.gradient_boosting(features, label, seed=3)
    return fitted.predict_proba(rows)[:, 1]


def network_scores(features: pd.DataFrame, label: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
    encoder, module = models.neural_network(features, label, seed=3, epochs=20)
    return scores_of(encoder, module, rows)


def scores_of(encoder: object, module: object, rows: pd.DataFrame) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return module(torch.from_numpy(encoder.transform(rows).astype(np.float32))).numpy()


BOTH = pytest.mark.parametrize("score", [boosting_scores, network_scores])


@pytest.fixture(scope="module")
def known() -> tuple[pd.DataFrame, np.ndarray]:
    features = frame(1500)
    return features, fraud(features)


@BOTH
def test_two_trainings_give_the_same_bytes(score, known):
    rows = frame(300, seed=8)
    assert score(*known, rows).tobytes() == score(*known, rows).tobytes()


def test_another_seed_gives_another_network(known):
    first = models.neural_network(*known, seed=3, epochs=2)
    second = models.neural_network(*known, seed=4, epochs=2)
    assert not np.array_equal(scores_of(*first, known[0]), scores_of(*second, known[0]))


@BOTH
def test_it_ranks_fraud_above_the_rest(score, known):
    from sklearn.metrics import roc_auc_score

    rows = frame(2000, seed=9)
    label = fraud(rows, seed=10)
    found = score(*known, rows)
    assert roc_auc_score(label, found) > 0.75
    assert abs(found.mean() - label.mean()) < 0.05


@BOTH
def test_any_row_gets_a_probability(score, known):
    rows = frame(6, seed=11)
    rows.loc[0, list(models.WORDS)] = "never seen"
    rows.loc[1, list(models.WORDS)] = None
    rows.loc[2, list(models.NUMBERS)] = np.nan
    rows.loc[3, :] = np.nan
    rows.loc[4, list(models.NUMBERS)] = 1e12
    found = score(*known, rows)
    assert found.shape == (6,)
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()


@BOTH
def test_one_row_scores_as_it_does_among_others(score, known):
    rows = frame(50, seed=12)
    assert score(*known, rows.iloc[[7]]) == pytest.approx(score(*known, rows)[[7]], abs=1e-6)


@BOTH
def test_a_column_without_values_is_no_obstacle(score, known):
    features, label = known
    features = features.assign(cars=np.nan, make=np.array([np.nan] * len(features), dtype=object))
    assert np.isfinite(score(features, label, frame(20, seed=13))).all()


@BOTH
def test_more_columns_and_another_order_change_nothing(score, known):
    features, label = known
    rows = frame(40, seed=14)
    other = features.assign(sex="Male", age=40.0, month="Jan")[[*features.columns[::-1], "sex"]]
    assert np.array_equal(score(features, label, rows), score(other, label, rows))


@BOTH
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_class_is_refused_with_its_value(score, known, value):
    with pytest.raises(AiosError, match=rf"one class only, \[{value}\]"):
        score(known[0], np.full(len(known[0]), value), known[0])


@BOTH
def test_a_missing_column_is_named(score, known):
    features, label = known
    with pytest.raises(AiosError, match="missing feature columns: fault, cars"):
        score(features.drop(columns=["cars", "fault"]), label, features)


def test_no_protected_and_no_calendar_column_is_read():
    read = {*models.WORDS, *models.NUMBERS}
    calendar = {name for name in read if "month" in name or "week" in name}
    assert not read & PROTECTED
    assert not calendar


def test_what_it_reads_is_declared_as_features():
    from pathlib import Path

    from aios.declaration import load_spec

    declared = load_spec(Path(models.__file__).parent).feature_columns
    assert {declared[name] for name in models.WORDS} == {"category"}
    assert {declared[name] for name in models.NUMBERS} == {"number"}


def test_training_leaves_torch_as_it_was(known):
    import torch

    torch.manual_seed(5)
    before = torch.get_num_threads(), torch.random.get_rng_state()
    models.neural_network(*known, seed=3, epochs=1)
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.random.get_rng_state(), before[1])
    assert not torch.are_deterministic_algorithms_enabled()


def test_boosting_survives_skops_with_the_same_bytes(known):
    import skops.io

    from model_registry.formats import TRUSTED_TYPES

    fitted = models.gradient_boosting(*known, seed=3)
    stored = skops.io.dumps(fitted)
    assert set(skops.io.get_untrusted_types(data=stored)) <= set(TRUSTED_TYPES)
    loaded = skops.io.loads(stored, trusted=list(TRUSTED_TYPES))
    rows = frame(200, seed=15)
    assert loaded.predict_proba(rows).tobytes() == fitted.predict_proba(rows).tobytes()


def test_network_survives_export_with_the_same_bytes(known):
    import skops.io
    import torch

    from model_registry.formats import TRUSTED_TYPES

    encoder, module = models.neural_network(*known, seed=3, epochs=2)
    example = torch.from_numpy(encoder.transform(known[0].head(5)).astype(np.float32))
    program = torch.export.export(
        module, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
    )
    stored = io.BytesIO()
    torch.export.save(program, stored)
    stored.seek(0)
    loaded = torch.export.load(stored).module()
    same = skops.io.loads(skops.io.dumps(encoder), trusted=list(TRUSTED_TYPES))
    for rows in (frame(1, seed=16), frame(700, seed=17)):
        assert scores_of(same, loaded, rows).tobytes() == scores_of(encoder, module, rows).tobytes()
