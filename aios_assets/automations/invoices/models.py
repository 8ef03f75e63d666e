"""Candidates for risk: which recipes learn which invoices will be corrected or rejected.

Both read what the page says of itself and what the vendor's earlier documents were. They read
neither the vendor's name nor the document's: a name would be learned as a verdict.

Few invoices are corrected or rejected, so both recipes are held back strongly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aios.errors import AiosError

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

WORDS = ("currency", "read_by")
NUMBERS = (
    "confidence", "company_confidence", "date_confidence", "address_confidence",
    "total_confidence", "ocr_confidence", "words", "totals_agree", "totals_differ",
    "duplicate_score", "log_amount", "round_amount", "tax_share", "weekend", "days_to_receipt",
    "has_iban", "iban_invalid", "vendor_known", "vendor_seen", "amount_ratio", "iban_share",
    "iban_changed", "iban_unusual", "vendor_mean_amount", "vendor_days_since_last",
    "vendor_days_known",
)  # fmt: skip

RARE = 10  # rows below which a word shares one input with the other rare ones


def gradient_boosting(
    features: pd.DataFrame, label: np.ndarray, *, seed: int, **params: Any
) -> Pipeline:
    """Histogram gradient boosting of small trees, slow and penalised.

    The method is that of Ke et al., "LightGBM" (2017), as scikit-learn has it. Words are split as
    categories; an unknown word and a missing value go the way that missing values went in
    training.

    Args:
        features: Shape (n, columns), with at least `WORDS` and `NUMBERS`.
        label: Shape (n,), 1 for corrected or rejected and 0 for neither.
        seed: Fixes the result.
        params: For `HistGradientBoostingClassifier`.

    Returns:
        A fitted pipeline over the frame; `predict_proba(frame)[:, 1]` is the score, shape (n,).

    Raises:
        AiosError: A column is missing, or the label has one class only.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder
    from threadpoolctl import threadpool_limits

    _check(features, label)
    words, numbers = _with_values(features, WORDS), _with_values(features, NUMBERS)
    ordinal = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
        max_categories=200,  # the trees' bins hold at most 255
    )
    columns = ColumnTransformer([("words", ordinal, words), ("numbers", "passthrough", numbers)])
    defaults = {
        "learning_rate": 0.05,
        "max_leaf_nodes": 6,
        "min_samples_leaf": 10,
        "l2_regularization": 5.0,
    }
    model = HistGradientBoostingClassifier(
        categorical_features=list(range(len(words))),
        early_stopping=False,
        random_state=seed,
        **{**defaults, **params},
    )
    # Sums over several threads would depend on their number.
    with threadpool_limits(1, user_api="openmp"):
        return Pipeline([("columns", columns), ("model", model)]).fit(features, label)


def logistic(features: pd.DataFrame, label: np.ndarray, *, seed: int, **params: Any) -> Pipeline:
    """Penalised logistic regression over indicators of words and standardised numbers.

    Numbers are taken by their rank, so that no single invoice, however large, decides alone;
    what is missing becomes the median, and an indicator says so.

    Args:
        features: Shape (n, columns), with at least `WORDS` and `NUMBERS`.
        label: Shape (n,), 1 for corrected or rejected and 0 for neither.
        seed: Fixes the result.
        params: For `LogisticRegression`.

    Returns:
        A fitted pipeline over the frame; `predict_proba(frame)[:, 1]` is the score, shape (n,).

    Raises:
        AiosError: A column is missing, or the label has one class only.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, StandardScaler
    from threadpoolctl import threadpool_limits

    _check(features, label)
    ranked = QuantileTransformer(n_quantiles=min(100, len(features)), random_state=seed)
    numbers = make_pipeline(
        ranked, SimpleImputer(strategy="median", add_indicator=True), StandardScaler()
    )
    words = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=RARE, sparse_output=False
    )
    columns = ColumnTransformer(
        [
            ("words", words, _with_values(features, WORDS)),
            ("numbers", numbers, _with_values(features, NUMBERS)),
        ]
    )
    model = LogisticRegression(**{"C": 0.1, "max_iter": 1000, "random_state": seed, **params})
    # Sums over several threads would depend on their number.
    with threadpool_limits(1):
        return Pipeline([("columns", columns), ("model", model)]).fit(features, label)


def _with_values(features: pd.DataFrame, names: tuple[str, ...]) -> list[str]:
    """The named columns that have any value: neither recipe can learn from, or take, the others."""
    return [name for name in names if features[name].notna().any()]


def _check(features: pd.DataFrame, label: np.ndarray) -> None:
    missing = [name for name in (*WORDS, *NUMBERS) if name not in features]
    if missing:
        raise AiosError(
            f"missing feature columns: {', '.join(missing)}",
            where="invoices models",
            fix="declare them in defs.yaml under features, and have features.py return them",
        )
    classes = np.unique(label)
    if len(classes) != 2:
        raise AiosError(
            f"the label has one class only, {classes.tolist()}: nothing tells a corrected invoice "
            "from another",
            where="invoices models",
            fix="wait for more matured labels, or check the label at the source",
        )
