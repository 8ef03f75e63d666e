"""What a failed step said, in the words that a person needs."""

from __future__ import annotations

import dagster as dg


def failure_message(event: dg.DagsterEvent) -> str:
    """Return a step failure's own description, or the message of its first cause."""
    data = event.step_failure_data
    failure = data.user_failure_data
    if failure and failure.description:
        return failure.description
    error = data.error
    while error and error.cause:
        error = error.cause
    return f"{event.step_key}: {error.message.strip() if error else 'failed'}"
