"""The parameters of requests: each of one form and bounded, before anything is done with it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Path, Query

_TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
_LINE = r"^[^\x00-\x1f\x7f]*$"
_NAME = r"^[A-Za-z0-9_-]{1,100}$"
_MODEL = r"^[A-Za-z0-9_-]{1,100}(\.[A-Za-z0-9_-]{1,100})?$"
_ID = r"^[A-Za-z0-9_-]{1,64}$"
_INT = {"ge": 0, "le": 2_000_000_000}

Name = Annotated[str, Path(pattern=_NAME, description="An automation.")]
Model = Annotated[str, Path(pattern=_MODEL, description="An automation or its model step.")]
Id = Annotated[str, Path(pattern=_ID)]
Number = Annotated[int, Path(**_INT)]

AnyName = Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{0,100}$")]
Search = Annotated[str, Query(pattern=_LINE, max_length=400)]
Page = Annotated[int, Query(ge=1, le=10_000)]

Reason = Annotated[str, Form(pattern=_LINE, min_length=3, max_length=300)]
Comment = Annotated[str, Form(pattern=_TEXT, max_length=2_000)]
Code = Annotated[str, Form(pattern=r"^[A-Za-z0-9_]{1,63}$")]
AnyCode = Annotated[str, Form(pattern=r"^[A-Za-z0-9_]{0,63}$")]
Version = Annotated[int, Form(**_INT)]
Hash = Annotated[str, Form(pattern=r"^[0-9a-f]{1,64}$")]
Scope = Annotated[str, Form(pattern=r"^(\*|[A-Za-z0-9_-]{1,100})$")]
Line = Annotated[str, Form(pattern=_LINE, max_length=400)]
