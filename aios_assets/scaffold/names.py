"""Which names columns and features may have."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Container

# What the stages themselves add to events; a column of that name would be lost.
TAKEN = {"event_time", "known_at", "revision", "content_digest", "rules"}
TAKEN_BY_ROWS = TAKEN | {
    "event_timestamp", "facts", "feature_digest", "scored_digest", "label", "label_known_at",
    "holdout", "score", "model_version", "file_index", "file_row_number",
}  # fmt: skip


def speakable(name: str) -> bool:
    """Whether a name means one column: Polars reads `*` and `^...$` as patterns, Arrow no NUL."""
    pattern = name == "*" or (name.startswith("^") and name.endswith("$"))
    return bool(name.strip()) and not pattern and "\0" not in name


def feature_name(wanted: str, others: Container[str]) -> str:
    """Return an identifier near the wanted name that means nothing else anywhere."""
    ascii_name = unicodedata.normalize("NFKD", wanted).encode("ascii", "ignore").decode()
    base = "_".join(re.findall(r"[a-z0-9]+", ascii_name.lower()))[:60].rstrip("_") or "column"
    if base[0].isdigit():
        base = f"x_{base}"
    name, number = base, 1
    while (
        name in others
        or name in TAKEN_BY_ROWS
        or re.match(r"score_v\d", name)
        or keyword.iskeyword(name)
    ):
        number += 1
        name = f"{base}_{number}"
    return name
