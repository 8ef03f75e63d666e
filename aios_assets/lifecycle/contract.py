"""The contract of events as a Great Expectations suite, applied row by row."""

import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import polars as pl

from aios.errors import AiosError
from aios.sources import typed
from aios.spec import Contract, Spec

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

# One asset check for each kind of rule; together they cover every expectation of the suite.
RULES = {
    "type": "Every value can be read as its declared type.",
    "not_null": "Required columns are filled.",
    "in_set": "Values are among the allowed ones.",
    "in_range": "Numbers lie within their bounds.",
    "time_order": "No event happened after it became known.",
}


@dataclass(frozen=True)
class Checked:
    """Events split by the contract.

    Attributes:
        good: Rows that keep it, in their declared types.
        bad: Rows that break it, as the source gave them (text), with `rules` they broke.
        broken: Rule, column and number of rows, for every rule that was broken.
    """

    good: pl.DataFrame
    bad: pl.DataFrame
    broken: pl.DataFrame

    def failures(self, rule: str) -> pl.DataFrame:
        """Return the columns that broke one rule, with counts."""
        return self.broken.filter(pl.col("rule") == rule)


def apply_contract(spec: Spec, raw: pl.DataFrame, where: str) -> Checked:
    """Check raw events against the contract.

    Args:
        spec: The declaration.
        raw: Columns of the contract and `known_at`, types as the source has them.
        where: What to name in errors.

    Raises:
        AiosError: A column of the contract is missing: no row can be judged then.
    """
    contract = spec.contract
    missing = [name for name in contract.columns if name not in raw.columns]
    if missing:
        raise AiosError(
            f"the source lacks column {', '.join(missing)}; it has {', '.join(raw.columns)}",
            where=where,
            fix="Restore the column at the source, or take it out of the contract.",
        )
    raw = raw.select(*contract.columns, *({"known_at"} - set(contract.columns)))
    events = raw.with_columns(
        typed(column.type, pl.col(name)).alias(name) for name, column in contract.columns.items()
    ).with_columns(pl.col(spec.event_time).alias("event_time"), pl.col("known_at"))
    failures = pl.concat([_misread(contract, raw, events), _unexpected(spec, events)])
    reasons = (
        failures.group_by("row")
        .agg((pl.col("rule") + ":" + pl.col("column")).sort().str.join(", ").alias("rules"))
        .sort("row")
    )
    is_bad = pl.Series(range(raw.height), dtype=pl.Int64).is_in(reasons["row"].implode())
    return Checked(
        good=events.filter(~is_bad),
        bad=raw.filter(is_bad).select(pl.all().cast(pl.String)).with_columns(reasons["rules"]),
        broken=failures.group_by("rule", "column").len("rows").sort("rule", "column"),
    )


def _misread(contract: Contract, raw: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Find values that are there in the source but not in the declared type."""
    frames = [_no_failures()]
    for name in contract.columns:
        given = raw[name]
        lost = given.is_not_null() & events[name].is_null()
        if given.dtype == pl.String:
            lost = lost & (given.str.strip_chars() != "").fill_null(False)
        elif given.dtype.is_float():
            lost = lost & given.is_not_nan().fill_null(False)
        frames.append(_failures("type", name, lost.arg_true().to_list()))
    return pl.concat(frames)


def _unexpected(spec: Spec, events: pl.DataFrame) -> pl.DataFrame:
    """Run the Great Expectations suite and return the rows that it did not expect."""
    if not events.height:
        return _no_failures()
    import great_expectations as gx

    batch = _batches().get_batch({"dataframe": events.to_pandas()})
    suite = gx.ExpectationSuite("contract", expectations=expectations(spec))
    results = batch.validate(
        suite, result_format={"result_format": "COMPLETE", "include_unexpected_rows": False}
    ).results
    frames = [_no_failures()]
    for result in results:
        if result.exception_info.get("raised_exception"):
            raise AiosError(
                f"an expectation could not be evaluated: {result.exception_info}",
                where=str(result.expectation_config),
                fix="Correct the contract of this column.",
            )
        if not result.success:
            meta = result.expectation_config.meta
            rows = result.result["unexpected_index_list"]
            frames.append(_failures(meta["rule"], meta["column"], rows))
    return pl.concat(frames)


@lru_cache(maxsize=1)
def _batches() -> Any:
    """Return what turns frames into batches; its context makes temporary folders, so only one."""
    import great_expectations as gx

    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    events = context.data_sources.add_pandas("source").add_dataframe_asset("events")
    return events.add_batch_definition_whole_dataframe("partition")


def expectations(spec: Spec) -> "list[Expectation]":
    """Return the contract as Great Expectations, each naming its rule and column."""
    import great_expectations.expectations as gxe

    suite: list[Any] = []
    required = {spec.id, spec.event_time, spec.known_at}
    for name, column in spec.contract.columns.items():
        if column.required or name in required:
            suite.append(
                gxe.ExpectColumnValuesToNotBeNull(
                    column=name, meta={"rule": "not_null", "column": name}
                )
            )
        if column.allowed is not None:
            suite.append(
                gxe.ExpectColumnValuesToBeInSet(
                    column=name,
                    value_set=column.allowed,
                    meta={"rule": "in_set", "column": name},
                )
            )
        if column.min is not None or column.max is not None:
            suite.append(
                gxe.ExpectColumnValuesToBeBetween(
                    column=name,
                    min_value=column.min,
                    max_value=column.max,
                    meta={"rule": "in_range", "column": name},
                )
            )
    suite.append(
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="known_at",
            column_B="event_time",
            or_equal=True,
            ignore_row_if="either_value_is_missing",
            meta={"rule": "time_order", "column": "event_time"},
        )
    )
    return suite


def _failures(rule: str, column: str, rows: list[int]) -> pl.DataFrame:
    return pl.DataFrame(
        {"row": rows, "rule": [rule] * len(rows), "column": [column] * len(rows)},
        schema=_no_failures().schema,
    )


def _no_failures() -> pl.DataFrame:
    return pl.DataFrame(schema={"row": pl.Int64, "rule": pl.String, "column": pl.String})
