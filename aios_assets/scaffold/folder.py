"""The folder of a new automation: checked choices in, all files or none out."""

from __future__ import annotations

import keyword
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import get_args

from aios.declaration import load_spec
from aios.errors import AiosError
from aios.policy import load_policy
from aios.windows import Cadence
from aios_assets.scaffold.columns import named_features, read_column, why_unusable
from aios_assets.scaffold.table import Task, check_delay, infer_task, open_table
from aios_assets.scaffold.writing import template_values

TEMPLATES = Path(__file__).parent / "templates"


def scaffold(
    name: str,
    *,
    data: Path,
    entity: str,
    time: str,
    target: str,
    task: Task | None,
    cadence: Cadence = "weekly",
    label_delay: str = "0d",
    automations: Path,
    id: str | None = None,
) -> Path:
    """Write the folder of a new automation.

    Args:
        name: Of the automation and its folder.
        data: A CSV file with a header, or a Parquet file.
        entity: Column with what a row is about; also the event's id where it never repeats.
        time: Column with the time of the event, UTC.
        target: Column with the outcome; empty where it is not known yet.
        task: What to learn; None infers it from the target.
        cadence: How long a partition is.
        label_delay: How long after the event its outcome is known: 7d, 12h, 30m.
        automations: The folder of all automations.
        id: Column that is different in each row; None takes the entity.

    Returns:
        The new folder, with every file that the automation needs.

    Raises:
        AiosError: The table or a choice does not allow an automation; nothing is written.
    """
    folder = _new_folder(name, automations)
    if cadence not in get_args(Cadence):
        raise AiosError(
            f"there is no cadence '{cadence}'", where="--cadence", fix="daily, weekly or monthly."
        )
    table = open_table(data, id=id or entity, entity=entity, time=time, target=target)
    task = infer_task(table, task)
    check_delay(table, label_delay)
    columns = [
        read_column(table, one)
        for one in table.frame.columns
        if one != target and not why_unusable(table, one)
    ]
    features = named_features(table, columns)
    source = os.path.relpath(data.resolve(), folder.resolve())
    _write(
        folder,
        template_values(name, source, table, columns, features, task, cadence, label_delay),
    )
    return folder


def _new_folder(name: str, automations: Path) -> Path:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name) or keyword.iskeyword(name):
        raise AiosError(
            f"'{name}' cannot name an automation",
            where="NAME",
            fix="Use a small letter, then small letters, digits and _, at most 63, "
            "and no word of Python.",
        )
    folder = automations / name
    if folder.exists() or folder.is_symlink():
        raise AiosError(
            "there is already something of that name; nothing was changed",
            where=str(folder),
            fix="Choose another name, or move the folder away.",
        )
    return folder


def _write(folder: Path, values: Mapping[str, str]) -> None:
    """Write all files aside, check them, and put the folder in place at once."""
    aside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        for template in TEMPLATES.glob("*.template"):
            (aside / template.stem).write_text(Template(template.read_text()).substitute(values))
        load_spec(aside)
        load_policy(aside / "policy.yaml")
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
