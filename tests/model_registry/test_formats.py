from __future__ import annotations

import json
import math
import pickle
import shutil
from datetime import datetime
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.errors import AiosError
from aios.record.leaves import Act
from model_registry import formats, manifest
from model_registry.frames import to_model_frame
from model_registry.safety import check_types
from tests.model_registry.recipes import COLUMNS, enrol, frame, label

pytestmark = pytest.mark.loop


def directory(version) -> Path:
    return Path(urlparse(version.source).path)


def reseal(registry, version) -> None:
    """Sign and record the files as they are, as someone who has the key and the log could."""
    content = {"automation": "claims", "key": version.key}
    digest = manifest.sign(directory(version), registry.log, content)
    key = manifest.leaf_key("claims", version.number, version.key, digest)
    registry.log.append(Act(manifest.REGISTERED, "claims", "person:mallory", {}, key=key))


@pytest.mark.parametrize("kind", ["boosting", "network"])
def test_loaded_model_scores_as_the_one_in_memory(registry, request, kind):
    model = request.getfixturevalue(kind)
    version = enrol(registry, kind, model)
    rows = frame(10_000, seed=3)
    before = formats.in_memory(model, "classification", COLUMNS).score(rows)
    after = formats.load(registry, version).score(rows)
    assert after.dtype == np.float64
    assert after.shape == (10_000,)
    np.testing.assert_array_equal(before, after)


def test_regression_scores_are_predictions(registry):
    from sklearn.linear_model import Ridge

    rows, columns = frame().fill_null(0), {"amount": "number"}
    table = to_model_frame(rows, columns)
    model = Ridge().fit(table, rows["age"].to_numpy())
    regression = {"task": "regression", "columns": columns, "metrics": {}, "sample": rows.head(3)}
    version = enrol(registry, "ridge", model, **regression)
    np.testing.assert_array_equal(formats.load(registry, version).score(rows), model.predict(table))


@pytest.mark.parametrize("kind", ["boosting", "network"])
def test_score_of_a_row_does_not_depend_on_its_chunk(request, kind):
    scorer = formats.in_memory(request.getfixturevalue(kind), "classification", COLUMNS)
    rows = frame(9_000, seed=4)
    whole = scorer.score(rows)
    for size in (1, 7, 4_096, 5_000):
        part = rows.head(min(size * 5, rows.height))
        chunks = [scorer.score(chunk) for chunk in part.iter_slices(size)]
        np.testing.assert_array_equal(np.concatenate(chunks), whole[: part.height])


def test_empty_frame_has_no_scores(boosting):
    scorer = formats.in_memory(boosting, "classification", COLUMNS)
    assert scorer.score(frame(5).clear()).shape == (0,)


def test_missing_column_is_named(boosting):
    scorer = formats.in_memory(boosting, "classification", COLUMNS, name="claims version 3")
    with pytest.raises(AiosError, match=r"claims version 3: missing feature columns: age"):
        scorer.score(frame(5).drop("age"))


@pytest.mark.parametrize(
    ("column", "values"),
    [("age", ["old"]), ("region", [1.5]), ("age", [datetime(2024, 1, 1)])],
)
def test_column_of_another_kind_is_named(boosting, column, values):
    rows = frame(1).with_columns(pl.Series(column, values))
    scorer = formats.in_memory(boosting, "classification", COLUMNS)
    with pytest.raises(AiosError, match=f"feature column '{column}' is"):
        scorer.score(rows)


def test_column_of_nulls_scores_like_nulls_of_its_type(boosting):
    scorer = formats.in_memory(boosting, "classification", COLUMNS)
    typed = frame(20).with_columns(age=pl.lit(None, pl.Float64), region=pl.lit(None, pl.String))
    untyped = frame(20).with_columns(age=pl.lit(None), region=pl.lit(None))
    np.testing.assert_array_equal(scorer.score(typed), scorer.score(untyped))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(allow_infinity=False),
            st.none() | st.integers(-(2**40), 2**40),
            st.none() | st.text(max_size=3),
            st.none() | st.booleans(),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_model_frame_keeps_values_and_makes_every_null_nan(rows):
    types = {"x": pl.Float64, "n": pl.Int64, "t": pl.String, "b": pl.Boolean}
    table = pl.DataFrame(rows, schema=types, orient="row")
    kinds = {"t": "category", "b": "number", "n": "number", "x": "number"}
    got = to_model_frame(table, kinds)
    assert list(got.columns) == ["t", "b", "n", "x"]
    assert {str(got[name].dtype) for name in "xnb"} == {"float64"}
    assert got["t"].dtype == object
    for place, name in enumerate("xntb"):
        for value, row in zip(got[name], rows, strict=True):
            if row[place] is None or row[place] != row[place]:
                assert isinstance(value, float)
                assert math.isnan(value)
            else:
                assert value == row[place]


def test_categorical_columns_become_plain_text():
    text = pl.Series("region", ["north", None, "south", "north"])
    plain = to_model_frame(text.to_frame(), {"region": "category"})
    for dtype in (pl.Categorical, pl.Enum(["south", "north", "west"])):
        other = to_model_frame(text.cast(dtype).to_frame(), {"region": "category"})
        assert other.equals(plain)


def test_artefact_is_a_plain_mlflow_model(registry, boosting):
    import mlflow.pyfunc

    version = enrol(registry, "a", boosting)
    scorer, rows = formats.load(registry, version), frame(50)
    model = mlflow.pyfunc.load_model(str(directory(version)))
    assert model.metadata.signature.inputs.input_names() == list(COLUMNS)
    assert model.input_example.shape == (5, 3)
    again = model.predict(to_model_frame(rows, COLUMNS))[:, 1]
    np.testing.assert_array_equal(again, scorer.score(rows))


def test_type_that_is_not_trusted_is_refused_when_saving():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    foreign = make_pipeline(FunctionTransformer(json.dumps))
    with pytest.raises(AiosError, match=r"not trusted: json\.dumps"):
        check_types(foreign, "the model to be saved")


def test_estimator_of_ones_own_is_refused_and_leaves_no_version(registry, boosting):
    from sklearn.pipeline import Pipeline

    class Own(type(boosting)):
        """A subclass that no list knows."""

    Own.__qualname__, Own.__module__ = "Own", __name__
    globals()["Own"] = Own
    try:
        own = Own(boosting.steps)
        assert isinstance(own, Pipeline)
        with pytest.raises(AiosError, match="not trusted"):
            enrol(registry, "own", own)
    finally:
        del globals()["Own"]
    assert registry.versions("claims") == []


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def test_pickle_in_the_place_of_a_model_is_refused(registry, boosting, network):
    for key, model, name in [
        ("a", boosting, formats.SKLEARN_FILE),
        ("b", network, formats.ENCODER_FILE),
        ("c", network, formats.TORCH_FILE),
    ]:
        version = enrol(registry, key, model)
        (directory(version) / name).write_bytes(pickle.dumps(Trap()))
        reseal(registry, version)
        version = registry.get("claims", version.number)
        with pytest.raises(AiosError, match=f"version {version.number}: its files cannot be read"):
            formats.load(registry, version)


def test_pickle_inside_a_torch_archive_is_refused(registry, network):
    import zipfile

    version = enrol(registry, "a", network)
    archive = directory(version) / formats.TORCH_FILE
    with zipfile.ZipFile(archive) as old:
        records = {info.filename: old.read(info) for info in old.infolist()}
    with zipfile.ZipFile(archive, "w") as new:
        for name, content in records.items():
            new.writestr(name, pickle.dumps(Trap()) if "sample_inputs" in name else content)
    reseal(registry, version)
    with pytest.raises(AiosError, match="not a pickle-free payload"):
        formats.load(registry, registry.get("claims", 1))


def test_foreign_type_in_the_artefact_is_refused_at_loading(registry, boosting):
    import skops.io
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    version = enrol(registry, "a", boosting)
    foreign = make_pipeline(FunctionTransformer(json.dumps))
    skops.io.dump(foreign, directory(version) / formats.SKLEARN_FILE)
    reseal(registry, version)
    with pytest.raises(AiosError, match=r"claims version 1: .*not trusted: json\.dumps"):
        formats.load(registry, registry.get("claims", 1))


def test_changed_file_is_refused(registry, boosting):
    version = enrol(registry, "a", boosting)
    with (directory(version) / "MLmodel").open("a") as file:
        file.write("\n")
    with pytest.raises(AiosError, match="changed after registration") as error:
        formats.load(registry, version)
    assert "restore" in error.value.fix


def test_other_scores_for_the_example_are_refused(registry, boosting):
    version = enrol(registry, "a", boosting)
    file = directory(version) / formats.SCORER_FILE
    content = json.loads(file.read_text())
    content["example_scores"][0] += 0.01
    file.write_text(json.dumps(content))
    reseal(registry, version)
    with pytest.raises(AiosError, match="other scores for its example rows"):
        formats.load(registry, registry.get("claims", 1))


def test_missing_artefact_says_which_version_and_what_to_do(registry, boosting):
    version = enrol(registry, "a", boosting)
    shutil.rmtree(directory(version))
    with pytest.raises(AiosError, match="claims version 1: its artefact is missing") as error:
        formats.load(registry, version)
    assert "retrain" in error.value.fix


def test_model_without_probabilities_is_refused(network):
    import torch

    encoder, module = network
    logits = (encoder, torch.nn.Sequential(*list(module)[:-1], torch.nn.Hardtanh(-5, 5)))
    with pytest.raises(AiosError, match="not probabilities"):
        formats.save(
            logits, Path("unused"), task="classification", columns=COLUMNS, sample=frame(50)
        )


def test_classifier_of_one_class_is_refused():
    from sklearn.dummy import DummyClassifier

    rows = frame()
    model = DummyClassifier().fit(to_model_frame(rows, COLUMNS), label(rows) * 0)
    with pytest.raises(AiosError, match="classifier of 1 classes"):
        formats.in_memory(model, "classification", COLUMNS)
