"""Candidates for claims: which recipes learn to tell fraudulent claims from honest ones.

Both read the facts of the claim, the policy and the vehicle. They do not read

* calendar columns: over less than three cycles a month is the name of one period and its fraud
  rate, not a season, and a model that learns it fails in the next year (0.04 ROC-AUC on the real
  file);
* the representative, the driver's rating and the delay of the claim, which told nothing there;
* sex, age and marital status, which are not features at all.

On the real claims of 1994-1995 all known rows, weighed alike, beat every window and every decay.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from aios.errors import AiosError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from torch import Tensor, nn

WORDS = (
    "make", "accident_area", "fault", "policy_type", "vehicle_category", "base_policy",
    "agent_type", "police_report", "witness",
)  # fmt: skip
NUMBERS = (
    "deductible", "vehicle_price", "days_policy_accident", "days_policy_claim", "past_claims",
    "vehicle_age", "supplements", "address_change_years", "cars",
)  # fmt: skip

RARE = 20  # rows below which a word shares one input with the other rare ones
BATCH = 512


def gradient_boosting(
    features: pd.DataFrame, label: np.ndarray, *, seed: int, **params: Any
) -> Pipeline:
    """Histogram gradient boosting of small trees, slow and penalised.

    The method is that of Ke et al., "LightGBM" (2017), as scikit-learn has it. Words are split as
    categories; an unknown word and a missing value go the way that missing values went in
    training.

    Args:
        features: Shape (n, columns), with at least `WORDS` and `NUMBERS`.
        label: Shape (n,), 1 for fraud and 0 for none.
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
    defaults = {"learning_rate": 0.05, "max_leaf_nodes": 8, "l2_regularization": 10.0}
    model = HistGradientBoostingClassifier(
        categorical_features=list(range(len(words))),
        early_stopping=False,
        random_state=seed,
        **{**defaults, **params},
    )
    # Sums over several threads would depend on their number.
    with threadpool_limits(1, user_api="openmp"):
        return Pipeline([("columns", columns), ("model", model)]).fit(features, label)


def neural_network(
    features: pd.DataFrame,
    label: np.ndarray,
    *,
    seed: int,
    width: int = 64,
    dropout: float = 0.5,
    epochs: int = 20,
    learning_rate: float = 0.01,
    weight_decay: float = 0.01,
) -> tuple[ColumnTransformer, nn.Module]:
    """One hidden layer over indicators of words and standardised numbers.

    Trained on the log loss with AdamW (Loshchilov & Hutter 2019), dropout (Srivastava et al.
    2014) and a one-cycle learning rate (Smith & Topin 2019).

    Args:
        features: Shape (n, columns), with at least `WORDS` and `NUMBERS`.
        label: Shape (n,), 1 for fraud and 0 for none.
        seed: Fixes the first weights, the order of the rows and what drops out.
        width: Units of the hidden layer.
        dropout: Share of its units left out of a training step.
        epochs: Passes over the rows, in batches of 512.
        learning_rate: The largest of the cycle.
        weight_decay: Decoupled penalty on the weights.

    Returns:
        A fitted transformer from the frame to numbers of shape (n, k), and a module from these
        as float32 to scores in [0, 1] of shape (n,), in evaluation mode.

    Raises:
        AiosError: A column is missing, or the label has one class only.
    """
    import torch
    from torch import nn

    _check(features, label)
    encoder = _encoder(features)
    encoded = torch.from_numpy(encoder.fit_transform(features).astype(np.float32))
    target = torch.from_numpy(np.asarray(label, dtype=np.float32))
    with _reproducible(seed):
        output = nn.Linear(width, 1)
        nn.init.constant_(output.bias, float(torch.logit(target.mean())))
        network = nn.Sequential(
            nn.Linear(encoded.shape[1], width), nn.ReLU(), nn.Dropout(dropout), output
        )
        _train(network, encoded, target, epochs, learning_rate, weight_decay)
    return encoder, nn.Sequential(network, nn.Sigmoid(), nn.Flatten(0)).eval()


def _train(
    network: nn.Module,
    encoded: Tensor,
    target: Tensor,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
) -> None:
    import torch

    batches = max(1, len(encoded) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=epochs * batches
    )
    loss = torch.nn.BCEWithLogitsLoss()
    for _ in range(epochs):
        for rows in torch.randperm(len(encoded)).tensor_split(batches):
            optimizer.zero_grad()
            loss(network(encoded[rows]).squeeze(1), target[rows]).backward()
            optimizer.step()
            schedule.step()


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Seed torch on one thread with deterministic kernels only; leave all as it was."""
    import torch

    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic)
            torch.set_num_threads(threads)


def _encoder(features: pd.DataFrame) -> ColumnTransformer:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    indicate = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=RARE, sparse_output=False
    )
    impute = SimpleImputer(strategy="median", add_indicator=True)
    return ColumnTransformer(
        [
            ("words", indicate, _with_values(features, WORDS)),
            (
                "numbers",
                make_pipeline(impute, StandardScaler()),
                _with_values(features, NUMBERS),
            ),
        ]
    )


def _with_values(features: pd.DataFrame, names: tuple[str, ...]) -> list[str]:
    """The named columns that have any value: neither recipe can learn from, or take, the others."""
    return [name for name in names if features[name].notna().any()]


def _check(features: pd.DataFrame, label: np.ndarray) -> None:
    missing = [name for name in (*WORDS, *NUMBERS) if name not in features]
    if missing:
        raise AiosError(
            f"missing feature columns: {', '.join(missing)}",
            where="claims models",
            fix="declare them in defs.yaml under features, and have features.py return them",
        )
    classes = np.unique(label)
    if len(classes) != 2:
        raise AiosError(
            f"the label has one class only, {classes.tolist()}: nothing tells fraud from none",
            where="claims models",
            fix="wait for more matured labels, or check the label at the source",
        )
