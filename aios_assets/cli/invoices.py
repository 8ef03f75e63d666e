"""Commands about invoices and receipts outside of partitions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aios_assets.cli.shell import app, clear_errors, console, home

invoices = typer.Typer(help="Invoices and receipts outside of partitions.", no_args_is_help=True)
app.add_typer(invoices, name="invoices")


@invoices.command("extract")
def extract_invoices(
    input_: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="A file, a folder, or a JSONL of words and boxes."),
    ],
    output: Annotated[Path, typer.Option(help="The JSONL to write, one line for each document.")],
) -> None:
    """Read company, date, address and total with the champion; train nothing."""
    from aios_assets.extract import extract

    with clear_errors(), console.status("loading") as status:
        found = extract(
            "invoices", input_, output, home(),
            lambda done, total: status.update(f"{done} of {total} documents"),
        )  # fmt: skip
    console.print(f"{found['read']} of {found['documents']} documents read: {output}",
                  highlight=False, soft_wrap=True)  # fmt: skip
