"""Was the right text read off a document? Field by field, and for the document as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

Same = Callable[[str, str | None, str], bool]


def compare(
    read: pl.DataFrame,
    truth: pl.DataFrame,
    fields: Sequence[str],
    key_fields: Sequence[str],
    same: Same,
) -> pl.DataFrame:
    """Compare what was read with the truth, row by row.

    A field without truth is not judged. The score is the F1 of a document's key fields, as the
    protocol of SROIE's third task counts them: exact strings, precision over what was read, recall
    over what there is.

    Args:
        read: One text column for each field.
        truth: The same documents in the same order.
        fields: Fields to compare.
        key_fields: Those that the score is about.
        same: Tells whether a reading of a field has the right value, however it is printed.

    Returns:
        `<field>_right`, the same text, and `<field>_same`, the same value, null where there is no
        truth; `score`; `right`: every judged key field has the right value.
    """
    rows = zip(read.select(fields).to_dicts(), truth.select(fields).to_dicts(), strict=True)
    judged = [_judge(mine, right, fields, key_fields, same) for mine, right in rows]
    schema = {f"{name}_{kind}": pl.Boolean for kind in ("right", "same") for name in fields}
    return pl.DataFrame(judged, schema=schema | {"score": pl.Float64, "right": pl.Boolean})


def _judge(
    read: dict[str, str | None],
    right: dict[str, str | None],
    fields: Sequence[str],
    key_fields: Sequence[str],
    same: Same,
) -> dict[str, bool | float | None]:
    found: dict[str, bool | float | None] = {}
    for name in fields:
        mine, wanted = read[name], right[name]
        found[f"{name}_right"] = None if wanted is None else mine == wanted
        found[f"{name}_same"] = None if wanted is None else same(name, mine, wanted)
    judged = [name for name in key_fields if right[name] is not None]
    given = [name for name in judged if read[name] is not None]
    hits = sum(bool(found[f"{name}_right"]) for name in judged)
    found["score"] = 2 * hits / (len(judged) + len(given)) if judged else None
    found["right"] = all(found[f"{name}_same"] for name in judged)
    return found
