"""Whatever is sent to any endpoint, by whomever: never a 500."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aios import clock
from aios.identity.actors import ROLES
from console.app import create_app
from console.options import Options
from tests.aios.review.world import loan, make_world
from tests.conftest import settings_in
from tests.console.conftest import Console
from tests.console.web import Web, register

pytestmark = [
    pytest.mark.loop,
    # Of schemathesis itself, when it is imported.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

PEOPLE: dict[str, list[str]] = {"all": list(ROLES), "ann": ["reviewer"], "udo": ["auditor"]}
EXAMPLES = 12
BOUNDLESS = 1_000_000


def operations() -> list[str]:
    app = create_app(settings_in(Path("nowhere")), Options())
    return sorted(
        f"{method.upper()} {path}"
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    )


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Console, dict[str, Web]]]:
    world = make_world(tmp_path_factory.mktemp("fuzz"))
    world.clock.time = clock.wall()
    world.decide([loan(number) for number in range(60)])
    options = replace(
        Options(now=world.clock), writes=BOUNDLESS, attempts=BOUNDLESS, refusals=BOUNDLESS
    )
    console = Console(world, create_app(world.settings, options))
    webs = {"nobody": console.browser()}
    for name, roles in PEOPLE.items():
        console.tokens[name] = register(console.house, name, roles)  # type: ignore[arg-type]
        webs[name] = console.as_(name)
    yield console, webs
    console.close()
    world.log.database.engine.dispose()


@pytest.mark.parametrize("operation", operations())
def test_no_endpoint_breaks(
    fuzzed: tuple[Console, dict[str, Web]], operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    import schemathesis

    console, webs = fuzzed
    method, path = operation.split(" ")
    schema = schemathesis.openapi.from_dict(console.app.openapi())
    found = schema[path][method]

    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(case=found.as_strategy(), who=st.sampled_from(sorted(webs)), real=st.booleans())
    def send(case: Any, who: str, real: bool) -> None:
        web = webs[who]
        arguments = case.as_transport_kwargs(base_url=web.address)
        sent: dict[str, Any] = {"params": arguments.get("params")}
        parameters = dict(case.path_parameters)
        if real:
            parameters |= known(console, parameters)
        if method == "POST":
            body = case.body if isinstance(case.body, dict) else {}
            sent["data"] = {**body, "form": web.form()}
            sent["headers"] = {"origin": web.address}
        # As a client would write it: what has no place in a path never arrives.
        place = path
        for name, value in parameters.items():
            text = str(value)
            place = place.replace(f"{{{name}}}", quoted(text))
        answer = web.raw(method, place, **sent)
        assert answer.status_code < 500, (place, sent, caplog.text)
        if who != "nobody" and web.get("/health").status_code != 200:
            web.sign_in(console.tokens[who])

    with caplog.at_level(logging.ERROR):
        send()


def known(console: Console, parameters: dict[str, Any]) -> dict[str, Any]:
    """Names that exist, so that what comes after them is reached."""
    cases = console.world.cases()
    real = {"name": "loans", "case": cases[0].id if cases else "none"}
    return {name: value for name, value in real.items() if name in parameters}


def quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text.encode("utf-8", "replace"), safe="")
