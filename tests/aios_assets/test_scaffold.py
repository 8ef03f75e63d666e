"""`aios new`: what it writes from real and odd tables works as it stands, or it says why not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aios.automation import Automation
from aios.declaration import load_spec
from aios.errors import AiosError
from aios.settings import Settings
from aios.sources import read_events, read_labels, read_table
from aios.spec import Spec
from aios.statistics.metrics import evaluate
from aios_assets.lifecycle.contract import apply_contract
from aios_assets.scaffold import scaffold
from model_registry.formats import in_memory, save
from model_registry.frames import to_model_frame

unit, loop = pytest.mark.unit, pytest.mark.loop
START = datetime(2024, 1, 1)
KEPT = 2000  # training rows of the real tables


def hourly(rows: int = 400, **columns: Any) -> pl.DataFrame:
    """A table with an outcome that follows `amount` and `colour`."""
    random = np.random.default_rng(0)
    amount = random.normal(size=rows).round(6)
    colour = random.choice(["red", "green", "blue"], rows)
    paid = amount + (colour == "red") + random.normal(size=rows) > 0
    return pl.DataFrame(
        {
            "order": [f"o{i}" for i in range(rows)],
            "at": [str(START + timedelta(hours=6 * i)) for i in range(rows)],
            "amount": amount,
            "colour": colour,
            "paid": ["yes" if one else "no" for one in paid],
        }
    ).with_columns(**{name: pl.Series(values) for name, values in columns.items()})


ROLES = {"entity": "order", "time": "at", "target": "paid"}
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(table: pl.DataFrame | Path, name: str = "orders", **choices: Any) -> Path:
        if isinstance(table, pl.DataFrame):
            data = tmp_path / f"{name}.csv"
            table.write_csv(data)
            table = data
        choices = {"task": None, **ROLES, **choices}
        return scaffold(name, data=table, automations=tmp_path / "automations", **choices)

    return make


def refusal(make: Make, table: pl.DataFrame | Path, **choices: Any) -> AiosError:
    with pytest.raises(AiosError) as caught:
        make(table, **choices)
    assert caught.value.fix
    return caught.value


def loaded(folder: Path) -> Automation:
    state = Settings.embedded(folder.parent / ".aios", folder.parent)
    return Automation.load(folder, state)


def contract_of(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "defs.yaml").read_text())["attributes"]["contract"]["columns"]


def check_whole(folder: Path, *, rows: int = KEPT) -> pl.DataFrame:
    """Run the table through contract, features, training and saving; return features."""
    automation = loaded(folder)
    spec: Spec = automation.spec
    start, end = automation.binding.start, automation.binding.end
    assert end is not None
    assert start.date() == spec.source.start
    raw, labels = read_events(automation, start, end), read_labels(automation, start, end)
    assert raw.height == read_table((folder / str(spec.source.table)).resolve()).height
    assert spec.label.column not in raw.columns
    checked = apply_contract(spec, raw, "test")
    assert checked.bad.height == 0, checked.broken
    features = automation.function(spec.features[0].function)(checked.good)
    view = spec.features[0]
    assert {*features.columns} == {view.entity, "event_time", "known_at", *view.columns}
    kinds = {"number": pl.Float64, "category": pl.String}
    assert all(features.schema[name] == kinds[kind] for name, kind in view.columns.items())
    assert all(name.isidentifier() and name.isascii() for name in view.columns)
    assert spec.label.column not in {*view.columns, *spec.contract.columns}
    known = features.join(labels.drop("known_at"), on=spec.id, maintain_order="left")
    known = known.tail(rows)
    train_all(automation, known.head(known.height * 3 // 4), known.tail(known.height // 4))
    return features


def train_all(automation: Automation, old: pl.DataFrame, new: pl.DataFrame) -> None:
    """Train every candidate on old rows: all save safely, the best passes the gate's floor."""
    spec, reached = automation.spec, []
    for candidate in spec.candidates:
        train = automation.function(candidate.train)
        frame = to_model_frame(old, spec.feature_columns)
        model = train(frame, old["label"].to_numpy(), seed=0, **candidate.params)
        scores = in_memory(model, spec.task, spec.feature_columns).score(new)
        metric = evaluate(spec.task, new["label"].to_numpy(), scores)[spec.gate.metric]
        reached.append(metric.value)
        save(
            model,
            automation.folder.parent / "saved" / candidate.name,
            task=spec.task,
            columns=spec.feature_columns,
            sample=new.head(3),
        )
    assert np.isfinite(reached).all()
    assert max(reached) >= spec.gate.floor


@loop
def test_marketing_calls(make: Make, datasets: Path) -> None:
    folder = make(
        datasets / "bank_marketing/calls_timed.csv",
        name="marketing",
        entity="call_id",
        time="call_time",
        target="subscribed",
        label_delay="7d",
    )
    features = check_whole(folder, rows=12_000)
    assert {"emp_var_rate", "default", "poutcome"} <= set(features.columns)
    spec = load_spec(folder)
    assert (spec.task, spec.cadence, spec.label.delay) == (
        "classification", "weekly", timedelta(days=7),
    )  # fmt: skip
    assert {"emp.var.rate", "default"} <= set(spec.contract.columns)
    assert all(column.allowed is None for column in spec.contract.columns.values())


@loop
def test_electricity_prices(make: Make, datasets: Path) -> None:
    folder = make(
        datasets / "elec2/elec2_timed.csv",
        name="elec2",
        entity="interval_id",
        time="interval_time",
        target="price_up",
    )
    check_whole(folder)
    spec = load_spec(folder)
    assert (spec.task, spec.gate.metric) == ("classification", "roc_auc")
    assert spec.contract.columns["nswprice"].min is None  # a price may well fall below zero


@loop
def test_electricity_demand(make: Make, datasets: Path) -> None:
    table = pl.read_csv(datasets / "vic_electricity/vic_electricity.csv").with_row_index("reading")
    folder = make(
        table, name="demand", entity="reading", time="Time", target="Demand", cadence="monthly"
    )
    features = check_whole(folder, rows=6000)
    spec = load_spec(folder)
    assert (spec.task, spec.gate.metric, spec.gate.floor) == ("regression", "r2", 0.0)
    assert {"temperature", "holiday", "event_hour", "event_weekday"} <= set(features.columns)
    assert "date_days_before" not in features.columns  # the local date is ahead of UTC
    assert "`Date` lies after the event" in (folder / "README.md").read_text()


@loop
@pytest.mark.parametrize("task", [None, "regression"])
def test_odd_names_survive_everything(make: Make, task: str | None) -> None:
    table = hourly(600)
    random = np.random.default_rng(1)
    names = ["on", "select", "A", "a", "score", "label", "known_at", "class", "ünïcode name", "列",
             '"quoted" \\ $name', "1st", "a.b", "a_b", "{{ x }}", "#c", "x: y", "", "*", "^a.*$",
             "event_hour", "holdout", "No", "new\nline"]  # fmt: skip
    table = table.with_columns(
        **{name: pl.Series(random.normal(size=600).round(4)) for name in names}
    ).rename({"order": "Order No.", "at": "When?", "paid": "y/n", "colour": "default"})
    folder = make(
        table, name="odd", entity="Order No.", time="When?", target="y/n",
        task=task, cadence="daily", label_delay="12h",
    )  # fmt: skip
    features = check_whole(folder)
    lower = [name.lower() for name in features.columns]
    assert len(set(lower)) == len(lower)
    values = dict(zip(table["Order No."], table["a"], strict=True))
    mapped = next(
        line.split('"')[1]
        for line in (folder / "features.py").read_text().splitlines()
        if line.endswith(': "a",')
    )
    assert dict(features.select("Order No.", mapped).iter_rows()) == values
    readme = (folder / "README.md").read_text()
    assert "`known_at` is a name that the platform itself uses" in readme
    assert "`*` has a name that cannot be used" in readme


@unit
def test_a_folder_is_complete_and_says_what_it_inferred(make: Make) -> None:
    folder = make(hourly(), label_delay="1d")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "defs.yaml", "features.py", "models.py", "policy.yaml",
    ]  # fmt: skip
    automation = loaded(folder)
    assert automation.policy.outcomes == ["accept", "review"]
    assert automation.policy.required == ["score"]
    assert automation.policy.rules == []
    for reference in automation.references:
        assert callable(automation.function(reference))
    spec = automation.spec
    assert (spec.id, spec.entity, spec.promotion, spec.risk) == (
        "order", "order", "automatic", "limited",
    )  # fmt: skip
    assert spec.owners == ["team:orders"]
    assert spec.slices == ["colour"]
    first, last = START, START + timedelta(hours=6 * 399)
    assert spec.source.start == (first - timedelta(days=first.weekday())).date()
    assert spec.source.end == (last - timedelta(days=last.weekday() - 7)).date()
    assert "blue, green, red" in (folder / "defs.yaml").read_text()
    for path in folder.iterdir():
        assert "$" not in path.read_text()


@loop
def test_types_come_from_the_values(make: Make) -> None:
    rows = 1500
    number = list(range(rows))
    table = hourly(
        rows,
        count=[i % 50 for i in number],
        signed=[i % 50 - 20 for i in number],
        decimal=[f"{i % 50}.0" for i in number],
        zip=[f"0{i % 9}123" for i in number],
        member=["Yes" if i % 3 else "No" for i in number],
        maybe=[("yes", "no", "unknown")[i % 3] for i in number],
        since=[str(START - timedelta(days=i % 40)) for i in number],
        closed=[str(START + timedelta(days=i % 4000 + 1)) for i in number],
        text=[f"remark {i}" for i in number],
        huge=[2**60 + i * i % 991 for i in number],
        holes=[None if i % 7 else i % 5 for i in number],
        messy=["n/a" if i % 4 == 0 else str(i % 31 / 2) for i in number],
        row=number,
        same=["x"] * rows,
        nothing=[None] * rows,
        copy=["won" if one == "yes" else "lost" for one in hourly(rows)["paid"]],
    )
    folder = make(table)
    columns = contract_of(folder)
    assert {name: column["type"] for name, column in columns.items()} == {
        "order": "text", "at": "time", "amount": "number", "colour": "category",
        "count": "integer", "signed": "integer", "decimal": "number", "zip": "category",
        "member": "boolean", "maybe": "category", "since": "time", "closed": "time",
        "text": "text", "huge": "number", "holes": "integer", "messy": "text", "row": "integer",
        "same": "text", "nothing": "text", "copy": "text",
    }  # fmt: skip
    assert {name for name, column in columns.items() if not column.get("required")} == {
        "holes", "nothing",
    }  # fmt: skip
    assert {name for name, column in columns.items() if "min" in column} == {
        "count", "holes", "row",
    }  # fmt: skip
    spec = load_spec(folder)
    assert spec.feature_columns == {
        "amount": "number", "colour": "category", "count": "number", "signed": "number",
        "decimal": "number", "zip": "category", "member": "number", "maybe": "category",
        "since_days_before": "number", "huge": "number", "holes": "number", "messy": "number",
        "event_hour": "number", "event_weekday": "number",
    }  # fmt: skip
    readme = (folder / "README.md").read_text()
    for reason in (
        "`closed` lies after the event",
        "`text` is text with 1500 different values",
        "`row` only numbers the rows",
        "`same` is the same in every row",
        "`nothing` is empty",
        "`copy` says the same as 'paid'",
    ):
        assert reason in readme
    features = loaded(folder).function("features:facts")(typed_events(folder))
    assert features["since_days_before"][40] == 10.0
    assert features["messy"].head(3).to_list() == [None, 0.5, 1.0]
    assert features["member"].head(2).to_list() == [0.0, 1.0]
    assert features["event_hour"].head(5).to_list() == [0.0, 6.0, 12.0, 18.0, 0.0]


def typed_events(folder: Path) -> pl.DataFrame:
    automation = loaded(folder)
    start, end = automation.binding.start, automation.binding.end
    assert end is not None
    checked = apply_contract(automation.spec, read_events(automation, start, end), "test")
    assert checked.bad.is_empty(), checked.broken
    return checked.good


@unit
def test_a_short_table_is_no_proof_that_a_column_is_always_filled(make: Make) -> None:
    columns = contract_of(make(hourly(220, **{f"n{i}": np.arange(220) % 7 for i in range(9)})))
    required = [name for name, column in columns.items() if column.get("required")]
    assert required == ["order", "at"]


@loop
def test_infinite_and_empty_numbers_reach_no_model(make: Make) -> None:
    amounts = [("inf", "NaN", None, f" {i}.5 ")[i % 4] for i in range(400)]
    folder = make(hourly(amount=amounts))
    features = loaded(folder).function("features:facts")(typed_events(folder))
    assert features["amount"].head(4).to_list() == [None, None, None, 3.5]


@unit
def test_a_repeating_entity_with_an_id(make: Make) -> None:
    table = hourly(customer=[f"c{i % 20}" for i in range(400)])
    spec = load_spec(make(table, entity="customer", id="order"))
    assert (spec.id, spec.entity, spec.features[0].entity) == ("order", "customer", "order")
    assert "customer" not in spec.feature_columns


@loop
def test_parquet_with_types_of_its_own(make: Make, tmp_path: Path) -> None:
    table = hourly().with_columns(
        pl.col("at").str.to_datetime().dt.replace_time_zone("UTC"),
        pl.col("paid") == "yes",
        pl.col("colour").cast(pl.Categorical),
        amount=pl.col("amount").cast(pl.Float32).replace(0.0, float("nan")),
        tags=pl.Series([["a", "b"]] * 400),
        day=pl.Series([START.date()] * 200 + [datetime(2023, 5, 1).date()] * 200),
    )
    table.write_parquet(tmp_path / "orders.parquet")
    folder = make(tmp_path / "orders.parquet")
    assert "`tags` holds List(String)" in (folder / "README.md").read_text()
    assert "tags" not in contract_of(folder)
    assert load_spec(folder).task == "classification"
    assert {"day_days_before", "amount", "colour"} <= set(load_spec(folder).feature_columns)
    typed_events(folder)


@unit
def test_rows_without_an_outcome_are_not_yet_labelled(make: Make) -> None:
    table = hourly(600)
    table = table.with_columns(
        paid=pl.when(pl.int_range(pl.len()) < 500).then("paid").otherwise(pl.lit(""))
    )
    folder = make(table)
    assert "100 rows without one are not yet labelled" in (folder / "README.md").read_text()


@unit
def test_a_few_damaged_times_are_left_to_quarantine(make: Make) -> None:
    table = hourly()
    times = ["31/12/2024", *table["at"][1:]]
    folder = make(table.with_columns(at=pl.Series(times)))
    assert "1 rows without a readable time go to quarantine" in (folder / "README.md").read_text()


@unit
@pytest.mark.parametrize(
    ("values", "task", "expected"),
    [
        (["yes", "no"], None, "classification"),
        ([True, False], None, "classification"),
        ([0, 1], None, "classification"),
        (["1.0", "0"], None, "classification"),
        (range(30), None, "regression"),
        ([0, 1], "regression", "regression"),
        (range(5), "regression", "regression"),
    ],
)
def test_the_task_follows_from_the_target(
    make: Make, values: Any, task: str | None, expected: str
) -> None:
    target = [values[i % len(values)] for i in range(400)]
    assert load_spec(make(hourly(paid=target), task=task)).task == expected


@unit
@pytest.mark.parametrize(
    ("values", "task", "words"),
    [
        (["won", "lost"], None, "('won', 'lost') and 400 rows that are not understood"),
        (["won", "lost", "open"], None, "has 3 values ('won', 'lost', 'open')"),
        (["yes", "no", "maybe"], None, "133 rows that are not understood"),
        ([1, 2], None, "two classes 1, 2; understood are 1 and 0"),
        ([1, 2, 3], None, "more are not supported yet"),
        (range(30), "classification", "more are not supported yet"),
        (["yes"], None, "one value only (1)"),
        ([7], "regression", "one value only (7)"),
        ([None], None, "the target is empty"),
        ([*map(float, range(30)), float("inf")], None, "12 rows that are not understood"),
    ],
)
def test_targets_that_cannot_be_learned(
    make: Make, values: Any, task: str | None, words: str
) -> None:
    target = [values[i % len(values)] for i in range(400)]
    assert words in refusal(make, hourly(paid=target), task=task).what


@unit
@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"entity": "Ordr"}, "Did you mean 'order'?"),
        ({"time": "zzz"}, "order, at, amount, colour, paid"),
        ({"target": "PAID"}, "Did you mean 'paid'?"),
        ({"id": "oder"}, "--id: there is no column 'oder'"),
        ({"target": "order"}, "cannot be the target and also the entity, id or time"),
        ({"target": "at"}, "cannot be the target and also the entity, id or time"),
        ({"time": "order"}, "cannot be the time and also the entity or id"),
        ({"entity": "colour"}, "duplicate ids: column 'colour' repeats in 400 rows"),
        ({"entity": "colour"}, "with --id such as order"),
        ({"time": "colour"}, "column 'colour': 400 of 400 rows are no time, such as"),
        ({"name": "Orders"}, "'Orders' cannot name an automation"),
        ({"name": "../orders"}, "cannot name an automation"),
        ({"name": "class"}, "cannot name an automation"),
        ({"label_delay": "7 days"}, "'7 days' is no delay"),
        ({"label_delay": "-7d"}, "'-7d' is no delay"),
        ({"label_delay": "9999999999999d"}, "is no delay"),
        ({"label_delay": "200d"}, "with a delay of 200d no outcome is known"),
        ({"cadence": "hourly"}, "there is no cadence 'hourly'"),
    ],
)
def test_choices_that_do_not_fit_the_table(
    make: Make, tmp_path: Path, choices: dict[str, Any], words: str
) -> None:
    table = tmp_path / "table.csv"
    hourly().write_csv(table)
    assert words in str(refusal(make, table, **choices))
    assert not (tmp_path / "automations").exists()


@unit
@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (None, "a.csv", "there is no such file"),
        (b"", "a.csv", "the table is empty"),
        (b"order,at,paid\n", "a.csv", "the table is empty"),
        (b"order;at;paid\n1;2024-01-01;yes\n", "a.csv", "not separated by commas"),
        (b"\x00\xff\xfe\x80", "a.csv", ""),
        (b"not parquet", "a.parquet", "cannot be read"),
        (b"{}", "a.json", "a table is a CSV or Parquet file, not '.json'"),
        (b"{}", "table", "a table is a CSV or Parquet file"),
    ],
)
def test_files_that_are_no_table(
    make: Make, tmp_path: Path, content: bytes | None, name: str, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert words in str(refusal(make, tmp_path / name))


@unit
def test_too_few_rows(make: Make) -> None:
    assert "199 rows with a known 'paid' are too few, 200" in refusal(make, hourly(199)).what


@unit
def test_missing_times_and_ids(make: Make) -> None:
    table = hourly()
    holes = pl.when(pl.int_range(pl.len()) >= 20)
    no_time = refusal(make, table.with_columns(at=holes.then("at")))
    assert "20 of 400 rows have none" in no_time.what
    no_id = refusal(make, table.with_columns(order=holes.then("order")))
    assert "20 of 400 rows have no id" in no_id.what


@unit
def test_nothing_to_learn_from(make: Make) -> None:
    table = hourly().drop("amount", "colour").with_columns(same=pl.lit("x"))
    assert "'same' is the same in every row" in refusal(make, table).what


@unit
def test_reserved_names_cannot_have_a_role(make: Make) -> None:
    table = hourly().rename({"order": "revision"})
    assert "platform itself uses" in refusal(make, table, entity="revision").what


@unit
def test_an_existing_folder_is_never_touched(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "automations" / "orders"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("kept")
    assert "already something of that name" in refusal(make, hourly()).what
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name.strip() and name not in {"order", "at", "paid"}
)
CELLS = st.one_of(
    st.just(st.integers(-5, 99).map(str)),
    st.just(st.floats(allow_nan=True).map(str)),
    st.just(st.sampled_from(["", "yes", "no"])),
    st.just(st.sampled_from(["", "NaN", "n/a", "3", "2024-02-30", "2024-02-28", "0x1", "1e5"])),
    st.just(st.text(st.characters(exclude_categories=["Cs"]), max_size=6)),
)


@loop
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), names=st.lists(NAMES, min_size=1, max_size=5, unique=True))
def test_any_table_gives_a_contract_that_it_keeps(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, names: list[str]
) -> None:
    rows = 210
    columns = {}
    for name in names:
        cells = data.draw(st.lists(data.draw(CELLS), min_size=3, max_size=30))
        columns[name] = [cells[i % len(cells)] for i in range(rows)]
    tmp_path = tmp_path_factory.mktemp("any")
    path = tmp_path / "any.parquet"
    hourly(rows).with_columns(pl.Series(name, v) for name, v in columns.items()).write_parquet(path)
    folder = scaffold(
        "any_table", data=path, task=None, automations=tmp_path / "automations", **ROLES
    )
    events = typed_events(folder)
    automation = loaded(folder)
    features = automation.function("features:facts")(events)
    assert features.height == rows
    assert set(automation.spec.feature_columns) <= set(features.columns)
    to_model_frame(features, automation.spec.feature_columns)
    for name, kind in automation.spec.feature_columns.items():
        assert kind == "category" or not features[name].is_infinite().any()
