"""Risk of invoices: ranking, any row, same bytes, and safe artefacts."""

from __future__ import annotations

import numpy as np
import pytest

from aios.errors import AiosError
from aios_assets.automations.invoices import features as views
from aios_assets.automations.invoices import models

pd = pytest.importorskip("pandas")
pytestmark = pytest.mark.unit

BOTH = pytest.mark.parametrize("train", [models.gradient_boosting, models.logistic])


def frame(rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    words = {name: rng.choice(["EUR", "USD", "GBP"], rows) for name in models.WORDS}
    numbers = {name: rng.integers(0, 6, rows).astype(float) for name in models.NUMBERS}
    found = pd.DataFrame({**words, **numbers}).astype(dict.fromkeys(models.WORDS, object))
    return found.mask(rng.random(found.shape) < 0.05, np.nan)


def corrected(features: pd.DataFrame, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    logit = 1.0 * features["log_amount"].fillna(2) - 0.8 * features["vendor_seen"].fillna(2) - 3
    return (rng.random(len(features)) < 1 / (1 + np.exp(-logit))).astype(float)


@pytest.fixture(scope="module")
def known() -> tuple[pd.DataFrame, np.ndarray]:
    features = frame(900)
    return features, corrected(features)


@pytest.fixture(scope="module")
def fitted(known):
    trained = {}

    def get(train):
        if train not in trained:
            trained[train] = train(*known, seed=3)
        return trained[train]

    return get


@BOTH
def test_it_ranks_the_corrected_above_the_rest(train, fitted):
    from sklearn.metrics import roc_auc_score

    rows = frame(2000, seed=9)
    label = corrected(rows, seed=10)
    score = fitted(train).predict_proba(rows)[:, 1]
    assert roc_auc_score(label, score) > 0.85
    assert abs(score.mean() - label.mean()) < 0.04


@BOTH
def test_two_trainings_give_the_same_bytes(train, known, fitted):
    rows = frame(300, seed=8)
    again = train(*known, seed=3)
    assert again.predict_proba(rows).tobytes() == fitted(train).predict_proba(rows).tobytes()


@BOTH
def test_any_row_gets_a_probability(train, fitted):
    rows = frame(6, seed=11)
    rows.loc[0, list(models.WORDS)] = "never seen"
    rows.loc[1, list(models.WORDS)] = None
    rows.loc[2, list(models.NUMBERS)] = np.nan
    rows.loc[3, :] = np.nan
    rows.loc[4, list(models.NUMBERS)] = 1e12
    rows.loc[5, list(models.NUMBERS)] = -1e12
    score = fitted(train).predict_proba(rows)[:, 1]
    assert score.shape == (6,)
    assert ((score >= 0) & (score <= 1)).all()


@BOTH
def test_one_row_scores_as_it_does_among_others(train, fitted):
    rows = frame(50, seed=12)
    model = fitted(train)
    assert model.predict_proba(rows.iloc[[7]]) == pytest.approx(
        model.predict_proba(rows)[[7]], abs=1e-9
    )


@BOTH
def test_columns_without_values_are_no_obstacle(train, known):
    features, label = known
    empty = {"read_by": np.array([np.nan] * len(features), dtype=object), "totals_agree": np.nan}
    model = train(features.assign(**empty), label, seed=3)
    assert np.isfinite(model.predict_proba(frame(20, seed=13))).all()
    nothing = frame(3).mask(np.ones((3, features.shape[1]), dtype=bool), np.nan)
    assert np.isfinite(model.predict_proba(nothing)).all()


@BOTH
def test_more_columns_and_another_order_change_nothing(train, known, fitted):
    features, label = known
    rows = frame(40, seed=14)
    other = features.assign(vendor="acme")[[*features.columns[::-1], "vendor"]]
    expected = fitted(train).predict_proba(rows)
    assert np.array_equal(train(other, label, seed=3).predict_proba(rows), expected)


@BOTH
def test_parameters_reach_the_model(train, known, fitted):
    params = {"C": 0.001} if train is models.logistic else {"max_iter": 3}
    weak = train(*known, seed=3, **params).predict_proba(known[0])[:, 1]
    assert weak.std() < fitted(train).predict_proba(known[0])[:, 1].std() / 2


@BOTH
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_class_is_refused_with_its_value(train, known, value):
    with pytest.raises(AiosError, match=rf"one class only, \[{value}\]"):
        train(known[0], np.full(len(known[0]), value), seed=3)


@BOTH
def test_a_missing_column_is_named(train, known):
    features, label = known
    with pytest.raises(AiosError, match="missing feature columns: read_by, vendor_seen"):
        train(features.drop(columns=["vendor_seen", "read_by"]), label, seed=3)


@BOTH
def test_it_survives_skops_with_the_same_bytes(train, fitted):
    import skops.io

    from model_registry.safety import TRUSTED_TYPES

    stored = skops.io.dumps(fitted(train))
    assert set(skops.io.get_untrusted_types(data=stored)) <= set(TRUSTED_TYPES)
    loaded = skops.io.loads(stored, trusted=list(TRUSTED_TYPES))
    rows = frame(200, seed=15)
    assert loaded.predict_proba(rows).tobytes() == fitted(train).predict_proba(rows).tobytes()


def test_no_name_is_read():
    read = {*models.WORDS, *models.NUMBERS}
    assert not read & {"vendor", "company", "iban", "document_id", "fingerprint"}
    assert len(read) == len(models.WORDS) + len(models.NUMBERS)


def test_what_it_reads_is_computed_by_the_views():
    numbers = {*views.NUMBERS, *views.HISTORY, *views.VENDOR, *views.PAGE}
    assert set(models.NUMBERS) <= numbers
    assert set(models.WORDS) <= set(views.CATEGORIES)
