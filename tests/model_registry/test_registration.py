from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sqlite3
import threading
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import urlparse

import pytest

from aios.errors import AiosError
from model_registry.formats import load
from model_registry.registration import find
from model_registry.registry import Registry
from tests.model_registry.opening import registry_in
from tests.model_registry.recipes import UNTIL, boosting, enrol, frame

pytestmark = pytest.mark.loop


def runs(registry, key=None):
    experiment = registry.experiment("claims")
    ours = f"tags.`aios.key` = '{key}'" if key else ""
    return registry.client.search_runs([experiment], filter_string=ours)


def test_version_says_what_it_is_and_where_it_came_from(registry, boosting):
    version = enrol(registry, "claims/2024-05-01/boosting", boosting)
    assert (version.number, version.stage, version.candidate) == (1, "registered", "boosting")
    assert version.trained_until == UNTIL
    assert version.tags["aios.dataset_digest"] == "3f9a"
    assert version.metrics["roc_auc_low"] < version.metrics["roc_auc"]
    assert version == registry.get("claims", 1)


def test_run_holds_params_metrics_dataset_model_and_card(registry, boosting):
    version = enrol(registry, "claims/2024-05-01/boosting", boosting)
    run = registry.client.get_run(version.run_id)
    assert run.info.run_name == "boosting until 2024-05-01"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"max_iter": "5"}
    assert run.data.metrics == version.metrics
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.digest == "3f9a"
    assert [output.model_id for output in run.outputs.model_outputs]
    files = {item.path for item in registry.client.list_artifacts(version.run_id)}
    assert files == {"card.md", "plots", "slices.csv"}
    described = registry.client.get_model_version("claims", "1").description
    assert described == "# claims\n\n## Approvals\n\nNone yet.\n"


def test_same_key_gives_the_same_version_without_a_second_run(registry, boosting):
    first = enrol(registry, "a", boosting)
    assert enrol(registry, "a", boosting) == first
    assert enrol(registry, "b", boosting).number == 2
    assert len(runs(registry)) == 2


def test_metrics_do_not_depend_on_when_they_are_logged(registry, boosting):
    versions = [enrol(registry, key, boosting) for key in "ab"]
    rows = [registry.client.get_metric_history(version.run_id, "roc_auc") for version in versions]
    assert [(m.value, m.timestamp, m.step) for m in rows[0]] == [
        (m.value, m.timestamp, m.step) for m in rows[1]
    ]


def test_long_card_is_cut_in_the_description_and_whole_in_the_run(registry, boosting):
    card = "# claims\n" + "A line of the card.\n" * 600
    version = enrol(registry, "a", boosting, card=card)
    described = registry.client.get_model_version("claims", "1").description
    assert len(described) <= 5000
    assert described.endswith("`card.md` among the run's artefacts.*\n")
    root = Path(urlparse(registry.client.get_run(version.run_id).info.artifact_uri).path)
    assert (root / "card.md").read_text() == card


@pytest.mark.parametrize("key", ["", "it's", "a b", "x" * 201])
def test_key_that_cannot_be_looked_up_is_refused(registry, boosting, key):
    with pytest.raises(AiosError, match="cannot identify a version"):
        enrol(registry, key, boosting)


def test_lineage_without_a_dataset_is_refused(registry, boosting):
    with pytest.raises(AiosError, match="no dataset_digest"):
        enrol(registry, "a", boosting, lineage={"seed": "0"})


def test_model_that_cannot_score_its_sample_leaves_nothing(registry, boosting):
    with pytest.raises(AiosError, match="missing feature columns: region"):
        enrol(registry, "a", boosting, sample=frame(5).drop("region"))
    assert registry.automations() == []


def stop_before_write(registry, point, stop):
    """Call `stop` in place of the n-th write through this registry's client."""
    writes = 0

    class Interrupted:
        def __init__(self, client):
            self.client = client

        def __getattr__(self, name):
            nonlocal writes
            writes += not name.startswith(("get_", "search_"))
            return stop if writes == point else getattr(self.client, name)

    registry.__dict__["client"] = Interrupted(registry.client)


def interrupt(*_, **__):
    raise KeyboardInterrupt


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def test_registration_stopped_before_any_write_and_run_again_is_as_undisturbed(
    registry, tmp_path, boosting
):
    undisturbed = enrol(registry, "undisturbed", boosting)
    for point in range(1, 40):
        key, stopped = (
            f"stopped-{point}",
            Registry(registry.uri, tmp_path / "artifacts", registry.log),
        )
        stop_before_write(stopped, point, interrupt)
        with suppress(KeyboardInterrupt):
            enrol(stopped, key, boosting)
            break
        again = enrol(registry, key, boosting)
        assert again.number == point + 1
        assert again.metrics == undisturbed.metrics
        assert [run.info.run_id for run in runs(registry, key)] == [again.run_id]
        load(registry, again)
    assert 8 < point < 39
    keys = [version.key for version in registry.versions("claims")]
    assert len(keys) == len(set(keys)) == point + 1


def register_and_die(home: Path, point: int, half_a_copy: bool) -> None:
    registry = registry_in(home)
    stop_before_write(registry, point, die)
    if half_a_copy:
        from mlflow import MlflowClient

        whole = MlflowClient.log_model_artifacts

        def half(self, model_id, directory, *rest):
            (Path(directory) / "MLmodel").unlink()
            whole(self, model_id, directory, *rest)
            die()

        MlflowClient.log_model_artifacts = half
    enrol(registry, "a", boosting())


@pytest.mark.parametrize(
    ("point", "half_a_copy"), [(2, False), (100, True), (12, False)], ids=["early", "copy", "late"]
)
def test_killed_process_leaves_no_lock_and_no_version(
    registry, tmp_path, boosting, point, half_a_copy
):
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(
        ["skops.io", "mlflow.sklearn", "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store"]
    )
    child = processes.Process(target=register_and_die, args=(tmp_path, point, half_a_copy))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert registry.versions("claims") == []
    version = enrol(registry, "a", boosting)
    assert version.number == 1
    load(registry, version)


def test_two_registrations_of_one_key_make_one_version(registry, tmp_path, boosting):
    made = []
    other = Registry(registry.uri, tmp_path / "artifacts", registry.log)
    threads = [
        threading.Thread(target=lambda store=store: made.append(enrol(store, "a", boosting)))
        for store in (registry, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [version.number for version in made] == [1, 1]


def test_locked_database_is_a_clear_error_and_loses_nothing(registry, boosting):
    kept = enrol(registry, "a", boosting)
    registry.patience = 0.2
    with sqlite3.connect(registry.uri.removeprefix("sqlite:///")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(AiosError, match="database is locked") as error:
            enrol(registry, "b", boosting)
        assert registry.versions("claims") == [kept]
        other.rollback()
    assert "run this again" in error.value.fix
    assert enrol(registry, "b", boosting).number == 2


def test_new_client_on_a_locked_database_gives_up_in_time(registry, tmp_path):
    late = Registry(registry.uri, tmp_path / "artifacts", registry.log, patience=0.2)
    with sqlite3.connect(registry.uri.removeprefix("sqlite:///")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(AiosError, match="database is locked"):
            late.versions("claims")
        other.rollback()
    assert late.versions("claims") == []


@pytest.fixture
def full_disk():
    """No file can grow beyond 16 KB while the block runs."""

    @contextmanager
    def full():
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return full


@pytest.mark.parametrize("kind", ["boosting", "network"])
def test_full_disk_is_a_clear_error_and_loses_nothing(registry, request, full_disk, kind):
    model = request.getfixturevalue(kind)
    kept = enrol(registry, "a", model)
    with full_disk(), pytest.raises(AiosError, match=r"cannot be (written|used)") as error:
        enrol(registry, "b", model)
    assert "run this again" in error.value.fix
    assert registry.versions("claims") == [kept]
    assert enrol(registry, "b", model).number == 2


def test_file_that_is_no_database_is_a_clear_error(tmp_path):
    (tmp_path / "mlflow.db").write_text("not a database at all, but long enough to look like one")
    broken = registry_in(tmp_path)
    with pytest.raises(AiosError, match="file is not a database"):
        broken.automations()


def test_place_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    registry = registry_in(tmp_path / "file")
    with pytest.raises(AiosError, match="cannot write here"):
        registry.automations()


def test_unknown_version_and_automation_say_what_there_is(registry, boosting):
    with pytest.raises(AiosError, match="no model version of 'claims'") as error:
        registry.get("claims", 1)
    assert "none yet" in error.value.fix
    enrol(registry, "a", boosting)
    with pytest.raises(AiosError, match="version 7 does not exist") as error:
        registry.get("claims", 7)
    assert error.value.fix == "choose one of: 1"
    with pytest.raises(AiosError, match="no model version of 'invoices'") as error:
        registry.get("invoices", 1)
    assert "claims" in error.value.fix
    assert find(registry, "invoices", "a") is None


def test_unknown_stage_is_refused(registry, boosting):
    with pytest.raises(AiosError, match="unknown stage 'best'"):
        registry.set_stage(enrol(registry, "a", boosting), "best")


def test_trained_until_survives_microseconds(registry, boosting):
    moment = datetime(2024, 5, 1, 12, 30, 0, 123456)
    assert enrol(registry, "a", boosting, trained_until=moment).trained_until == moment
