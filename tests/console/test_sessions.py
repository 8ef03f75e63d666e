"""Who is in: by token or by the code at the terminal, for how long, and out at once."""

from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import timedelta

import pytest

from aios.errors import AiosError
from aios.identity.actors import Actor
from aios.identity.directory import Directory
from console.app import serve
from console.options import Options
from tests.console.conftest import Console
from tests.console.web import Web, refusals, register

pytestmark = pytest.mark.unit


def is_in(web: Web) -> bool:
    return web.get("/health").status_code == 200


def test_nobody_gets_in_without_a_valid_token(console: Console) -> None:
    web = console.browser()
    for path in ("/", "/queue", "/health", "/rollouts", "/decisions", "/reports", "/actions"):
        answer = web.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    wrong = console.tokens["ann"][:-1] + ("A" if console.tokens["ann"][-1] != "A" else "B")
    assert web.sign_in(wrong).status_code == 401
    assert not is_in(web)
    assert refusals(console.house)[-1] == ("nobody", "/sign-in", "not signed in")
    assert web.sign_in(console.tokens["ann"]).status_code == 303
    assert is_in(web)


def test_a_service_does_not_get_in(console: Console) -> None:
    directory = Directory(console.house.log.database)
    robot = Actor("robot", "service")
    directory.add(robot)
    token = directory.issue_token(robot, console.world.clock() + timedelta(days=1)).text
    assert console.browser().sign_in(token).status_code == 401


@pytest.mark.parametrize("how", ["disable", "revoke", "expire"])
def test_who_is_shut_out_is_out_at_once(console: Console, how: str) -> None:
    ann = console.as_("ann")
    assert is_in(ann)
    directory = Directory(console.house.log.database)
    if how == "disable":
        directory.disable(Actor("ann", "person"))
    elif how == "revoke":
        directory.revoke(console.tokens["ann"].split("_")[1])
    else:
        soon = console.world.clock() + timedelta(minutes=5)
        ann = console.browser()
        ann.sign_in(directory.issue_token(Actor("ann", "person"), soon).text)
        assert is_in(ann)
        console.world.clock.forward(timedelta(minutes=6))
    assert not is_in(ann)


def test_roles_are_those_of_now(console: Console) -> None:
    ann = console.as_("ann")
    assert "Next case" in ann.get("/queue").text
    Directory(console.house.log.database).change_roles(Actor("ann", "person"), ["operator"])
    assert "Next case" not in ann.get("/queue").text


def test_a_session_ends_when_idle_and_in_any_case(console: Console) -> None:
    ann = console.as_("ann")
    clock = console.world.clock
    for _ in range(23):
        clock.forward(timedelta(minutes=29))
        assert is_in(ann), "each request keeps it"
    clock.forward(timedelta(minutes=29))
    assert is_in(ann)
    clock.forward(timedelta(minutes=29))
    assert not is_in(ann), "twelve hours are over"
    again = console.as_("ann")
    clock.forward(timedelta(minutes=31))
    assert not is_in(again), "nobody was there"


def test_a_page_that_renews_itself_keeps_nobody_in(console: Console) -> None:
    olga = console.as_("olga")
    for minutes in range(0, 30, 10):
        polled = olga.get("/health", headers={"hx-request": "true"})
        assert polled.status_code == 200, minutes
        console.world.clock.forward(timedelta(minutes=10))
    console.world.clock.forward(timedelta(minutes=1))
    gone = olga.get("/health", headers={"hx-request": "true"})
    assert (gone.status_code, gone.headers["hx-redirect"]) == (401, "/sign-in")


def test_a_copied_cookie_is_void_after_signing_out(console: Console) -> None:
    ann, thief = console.as_("ann"), console.browser()
    thief.cookies.update(ann.cookies)
    assert is_in(thief)
    assert ann.send("/sign-out").status_code == 303
    assert not is_in(thief)
    assert not is_in(ann)
    kinds = [one.kind for one in console.world.leaves() if one.actor == "person:ann"]
    assert kinds == ["signed_in", "signed_out"]


def test_a_session_is_always_a_new_one(console: Console) -> None:
    """A cookie that somebody planted before the sign-in is worth nothing afterwards."""
    ann = console.browser()
    ann.cookies.set("aios_console", "planted")
    ann.sign_in(console.tokens["ann"])
    first = ann.cookies.get("aios_console", domain="127.0.0.1")
    ann.cookies.clear()
    ann.sign_in(console.tokens["ann"])
    assert first != "planted"
    assert first != ann.cookies.get("aios_console", domain="127.0.0.1")


def test_the_cookie_is_for_the_server_alone(
    console: Console, build: Callable[..., Console]
) -> None:
    web = console.browser()
    cookie = web.sign_in(console.tokens["ann"]).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert console.tokens["ann"] not in cookie
    secured = build(url="https://aios.example.org")
    far = Web(secured.app, "https://aios.example.org")
    cookie = far.sign_in(console.tokens["ann"]).headers["set-cookie"]
    assert cookie.startswith("__Host-aios=")
    assert "; Secure" in cookie
    assert far.get("/health").headers["strict-transport-security"]
    far.close()
    key = console.world.settings.keys / "console.secret"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_sessions_outlive_the_server_and_forms_do_not(
    console: Console, build: Callable[..., Console]
) -> None:
    ann = console.as_("ann")
    form = ann.form()
    later = build().browser()
    later.cookies.update(ann.cookies)
    assert is_in(later)
    assert later.send("/queue/next", form=form).status_code == 403
    assert later.send("/queue/next").status_code == 303


def test_the_local_user_needs_the_code_of_the_terminal(build: Callable[..., Console]) -> None:
    said: list[str] = []
    made = build(say=said.append)
    web = made.browser()
    assert web.send("/sign-in", {"code": "guess"}).status_code == 401
    code = made.house.local.renew()
    assert f'value="{code}"' in web.get("/sign-in", params={"code": code}).text
    assert web.send("/sign-in", {"code": code}).status_code == 303
    assert is_in(web)
    other = made.browser()
    assert other.send("/sign-in", {"code": code}).status_code == 401, "it works once"
    assert said[0].startswith("Signed in. The next code: ")
    assert other.send("/sign-in", {"code": said[0].rpartition(" ")[2]}).status_code == 303


def test_the_local_user_goes_when_people_come(build: Callable[..., Console]) -> None:
    made = build()
    web = made.browser()
    code = made.house.local.renew()
    web.send("/sign-in", {"code": code})
    assert is_in(web)
    code = made.house.local.renew()
    register(made.house, "olga", ["operator"])
    assert not is_in(web)
    assert web.send("/sign-in", {"code": code}).status_code == 401


def test_a_code_ends_by_itself(build: Callable[..., Console]) -> None:
    made = build()
    code = made.house.local.renew()
    made.world.clock.forward(timedelta(minutes=16))
    assert made.browser().send("/sign-in", {"code": code}).status_code == 401


def test_the_local_user_is_never_served_to_a_network(
    console: Console, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from tests.conftest import settings_in

    monkeypatch.delenv("AIOS_CONSOLE_UI", raising=False)
    with pytest.raises(AiosError, match="does not know its own address"):
        serve(console.world.settings, "0.0.0.0", 0)
    alone = settings_in(tmp_path_factory.mktemp("alone"))
    monkeypatch.setenv("AIOS_CONSOLE_UI", "https://aios.example.org")
    for host in ("0.0.0.0", "127.0.0.1"):
        with pytest.raises(AiosError, match="no person is registered"):
            serve(alone, host, 0)


@pytest.mark.parametrize("url", ["ftp://a", "https://a/b", "a.example.org"])
def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AIOS_CONSOLE_UI", url)
    with pytest.raises(AiosError, match="no address"):
        Options.from_env()


def test_tokens_are_not_guessed_at_speed(build: Callable[..., Console]) -> None:
    made = build(attempts=3)
    token = register(made.house, "olga", ["operator"])
    web = made.browser()
    answers = [web.sign_in(f"{token}A").status_code for _ in range(4)]
    assert answers == [401, 401, 401, 429]
    assert web.sign_in(token).status_code == 429, "not even with the right one"
