"""Extraction outside of partitions: documents in, their fields out, by the champion of a step."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aios.automation import Automation, load_automation
from aios.documents.intake import Arrival, scan
from aios.errors import AiosError
from aios.learner import ModelStep, model_steps
from aios.settings import Settings
from aios.step_runs import Outcome, run_apart, run_here
from aios.steps import Step
from aios_assets.resources import Platform

Progress = Callable[[int, int], None]


def extract(
    name: str, source: str, output: Path, settings: Settings, progress: Progress
) -> dict[str, int]:
    """Read documents with the champion and write one line of JSON for each, in order.

    A line holds `id`, the key fields as printed, `confidence` (of each key field and of the
    `document`), and `problem` where the document could not be read.

    Args:
        name: The automation.
        source: A file, a folder, or a JSONL of words and boxes.
        output: The JSONL to write; it appears when it is whole.
        settings: Where state lives.
        progress: Called with documents done and documents in all.

    Returns:
        `documents`, and how many of them were `read`.

    Raises:
        AiosError: There is no champion, or nothing at `source`. Nothing is written then.
    """
    automation = load_automation(name, settings)
    learner, function = _champion(automation, settings)
    arrivals = scan(source)
    readable = [one for one in arrivals if one.condition == "readable"]
    rows: list[dict[str, Any]] = [asdict(one) for one in readable]
    for step in automation.spec.steps:
        if step.name == learner.step.name:
            break
        for row, outcome in zip(rows, _run(automation, step, rows), strict=True):
            row |= outcome.outputs | {"problem": row.get("problem") or outcome.problem}
    outcomes = run_here(
        learner.step, function, ({k: row[k] for k in learner.step.inputs} for row in rows)
    )
    read = iter(zip(rows, outcomes, strict=True))
    lines = 0
    aside = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with open(aside, "w", encoding="utf-8") as file:
            for done, arrival in enumerate(arrivals, start=1):
                line = _line(learner, arrival, read)
                lines += "problem" not in line
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                progress(done, len(arrivals))
        os.replace(aside, output)
    finally:
        aside.unlink(missing_ok=True)
    return {"documents": len(arrivals), "read": lines}


def _champion(automation: Automation, settings: Settings) -> tuple[ModelStep, Any]:
    from aios_assets.lifecycle.steps import load_extractor
    from model_registry.champion import champion

    found = model_steps(automation)
    if not found:
        raise AiosError(
            "it has no step that is a model", where=automation.name, fix="Declare one in defs.yaml."
        )
    platform = Platform(settings)
    deciding = champion(platform.registry, found[0].name)
    if deciding is None:
        raise AiosError(
            "there is no champion to read with",
            where=found[0].name,
            fix=f"Make one with 'aios rehearse {automation.name}', or promote a version that "
            f"passed the gate with 'aios promote {found[0].name} VERSION'.",
        )
    return found[0], load_extractor(platform, found[0], deciding)


def _run(automation: Automation, step: Step, rows: list[dict[str, Any]]) -> Iterator[Outcome]:
    inputs = [{name: row[name] for name in step.inputs} for row in rows]
    if step.function is None or step.lookback:
        raise AiosError(
            f"step '{step.name}' needs more than the document",
            where=automation.name,
            fix="Put the model step before it.",
        )
    if step.timeout and len(rows) > 1:
        return run_apart(step, automation.folder, inputs)
    return run_here(step, automation.function(step.function), inputs)


def _line(
    learner: ModelStep, arrival: Arrival, read: Iterator[tuple[dict[str, Any], Outcome]]
) -> dict[str, Any]:
    fields = learner.spec.key_fields
    line: dict[str, Any] = {"id": arrival.document_id}
    if arrival.condition != "readable":
        nothing = dict.fromkeys([*fields, "document"], 0.0)
        return {
            **line,
            **dict.fromkeys(fields),
            "confidence": nothing,
            "problem": arrival.condition,
        }
    row, outcome = next(read)
    outputs = outcome.outputs
    line |= {name: outputs[name] for name in fields}
    line["confidence"] = {name: outputs[f"{name}_confidence"] or 0.0 for name in fields}
    line["confidence"]["document"] = outputs["confidence"] or 0.0
    problem = row.get("problem") or outcome.problem
    return {**line, "problem": problem} if problem else line
