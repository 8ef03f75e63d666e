"""A console without a browser: people who sign in, read pages and send their forms."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from aios.identity.actors import Actor, Role
from aios.identity.directory import Directory
from console.house import House

ADDRESS = "http://127.0.0.1:3002"
FIELD = re.compile(r'name="form" value="([^"]+)"')


class Web:
    """One browser: its cookies, and the last page that it saw.

    Args:
        app: The console.
        address: Where the browser thinks that it is.
    """

    def __init__(self, app: FastAPI, address: str = ADDRESS) -> None:
        self.app, self.address = app, address
        self._runner = asyncio.Runner()
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=address)
        self.page: httpx.Response | None = None

    @property
    def house(self) -> House:
        house: House = self.app.state.house
        return house

    @property
    def cookies(self) -> httpx.Cookies:
        return self._client.cookies

    def close(self) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()

    def get(self, path: str, **options: Any) -> httpx.Response:
        self.page = self._runner.run(self._client.get(path, **options))
        return self.page

    def send(
        self, path: str, data: dict[str, Any] | None = None, *, form: str | None = None,
        origin: str | None = None, **options: Any,
    ) -> httpx.Response:  # fmt: skip
        """Post a form as a page of the console does; a fresh one unless told otherwise."""
        form = self.form() if form is None else form
        headers = {"origin": self.address if origin is None else origin}
        whole = {"form": form, **(data or {})}
        return self._runner.run(self._client.post(path, data=whole, headers=headers, **options))

    def raw(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._runner.run(self._client.request(method, path, **options))

    def form(self) -> str:
        """Return the token of a form on a fresh page."""
        page = self.get("/switch")
        if page.status_code != 200:
            page = self.get("/sign-in")
        found = FIELD.search(page.text)
        assert found, page.text
        return html.unescape(found[1])

    def sign_in(self, token: str) -> httpx.Response:
        return self.send("/sign-in", {"token": token}, form=self.form_of("/sign-in"))

    def form_of(self, path: str) -> str:
        found = FIELD.search(self.get(path).text)
        assert found
        return html.unescape(found[1])


def register(house: House, name: str, roles: Sequence[Role]) -> str:
    """Register a person and return a token of theirs."""
    directory = Directory(house.log.database)
    actor = Actor(name, "person", frozenset(roles))
    directory.add(actor)
    return directory.issue_token(actor, house.options.now() + timedelta(days=400)).text


def refusals(house: House) -> list[tuple[str, str, str]]:
    """What is on record of refused requests: actor, path, reason."""
    entries = house.log.entries(kind="refused")
    return [(one.actor, one.body["path"], one.body["reason"]) for one in entries]
