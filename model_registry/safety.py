"""What may be in an artefact: a list of trusted types, and no pickle.

Everything is checked before anything in a file is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aios.errors import AiosError

TRUSTED_TYPES = (
    "functools.partial",
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils.validation.check_array",
)
"""What an artefact may hold beyond skops' own list of scikit-learn and NumPy types."""


def check_types(source: Any, where: str) -> None:
    """Refuse an estimator in memory, or a file by its path, with a type not on the list.

    Raises:
        AiosError: Names the types.
    """
    import skops.io

    if isinstance(source, Path):
        found = skops.io.get_untrusted_types(file=source)
    else:
        found = skops.io.get_untrusted_types(data=skops.io.dumps(source))
    foreign = sorted(set(found) - set(TRUSTED_TYPES))
    if foreign:
        raise AiosError(
            f"it holds types that are not trusted: {', '.join(foreign)}",
            where=where,
            fix="build the model from scikit-learn's own parts, or have the type reviewed "
            "and added to model_registry.safety.TRUSTED_TYPES",
        )


def load_skops(path: Path, name: str) -> Any:
    """Load a skops file after checking its types; `name` is what an error calls it.

    Raises:
        AiosError: It holds a type that is not on the list.
    """
    import skops.io

    check_types(path, name)
    return skops.io.load(path, trusted=list(TRUSTED_TYPES))


def load_pt2(path: Path) -> Any:
    """Load an exported program after making sure that nothing in it needs unpickling.

    Raises:
        ValueError: Something does.
    """
    import torch
    from mlflow.exceptions import MlflowException
    from mlflow.pytorch import _validate_pt2_archive_is_pickle_free

    try:
        _validate_pt2_archive_is_pickle_free(str(path))
    except MlflowException as error:
        raise ValueError(error.message) from error
    return torch.export.load(path).module()
