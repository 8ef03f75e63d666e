"""The console in a real browser: a reviewer's day, a promotion, a `why`, the kill switch.

With `AIOS_SCREENSHOTS=docs/console` the pictures of docs/console.md are taken anew.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from aios import clock
from aios.actions.tables import ACTIONS
from aios.consequences import decided_rows, follow
from aios.halts import halts
from aios.identity.actors import Role
from aios.review.queue import queue
from console.app import create_app
from console.explain import mattered
from console.options import Options
from model_registry.approvals import requests
from model_registry.champion import champion
from model_registry.formats import load
from tests.aios.review.world import ACTIONS_DECLARED, EFFECTS, REVIEW
from tests.console.web import register
from tests.loops.conftest import NAME, Loop, copy_loop, enter, key

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.loop

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome")
                 if (found := shutil.which(name))), None)  # fmt: skip
PICTURES = os.environ.get("AIOS_SCREENSHOTS")
PEOPLE: dict[str, list[Role]] = {
    "olga": ["operator"],
    "ann": ["reviewer"],
    "mia": ["ml_engineer"],
    "eve": ["approver"],
    "udo": ["auditor"],
}
WEEK = 7


class Site:
    """A served console with people, and cases that wait."""

    def __init__(self, loop: Loop) -> None:
        import uvicorn

        self.loop = loop
        options = replace(Options(), writes=10_000)
        self.app = create_app(loop.settings, options)
        self.house = self.app.state.house
        self.tokens = {name: register(self.house, name, roles) for name, roles in PEOPLE.items()}
        self.server = uvicorn.Server(
            uvicorn.Config(self.app, host="127.0.0.1", port=0, log_level="error", ws="none")
        )
        self._thread = threading.Thread(target=self.server.run, daemon=True)

    def start(self) -> str:
        self._thread.start()
        while not self.server.started:
            time.sleep(0.05)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(10)

    def rows(self, table: Any) -> list[Any]:
        with self.house.log.database.reading() as connection:
            return list(connection.execute(table.select()).all())


@pytest.fixture(scope="module")
def site(prepared: Loop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        loop = copy_loop(prepared, tmp_path_factory.mktemp("console") / "loop")
        enter(loop, patch)
        loop.redeclare(
            risk="high",
            review={**REVIEW, "four_eyes": "amount >= 10000000"},
            actions=ACTIONS_DECLARED,
            files={"effects.py": EFFECTS},
        )
        loop.run("batch", WEEK)
        site = Site(loop)
        for week in range(WEEK + 1):
            if loop.decided_by(week) != {None}:
                _follow(site, key(week))
        site.address = site.start()  # type: ignore[attr-defined]
        yield site
        site.stop()
        loop.restart()


def _follow(site: Site, partition: str) -> None:
    """Let a partition have its consequences, as on the day itself."""
    loop = site.loop
    with site.house.log.transaction() as transaction:
        follow(
            transaction.connection,
            loop.automation,
            loop.lake,
            partition,
            now=clock.wall(),
            rehearsed=False,
        )


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


class Visit:
    """Somebody at the console, and what their browser complained about."""

    def __init__(self, site: Site, context: BrowserContext) -> None:
        self.site, self.context, self.page = site, context, context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.set_default_timeout(20_000)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def sign_in(self, name: str) -> Page:
        self.page.goto(f"{self.address}/sign-in")
        self.page.fill("input[name=token]", self.site.tokens[name])
        self.page.click("text=Sign in >> visible=true")
        self.page.wait_for_selector("header.top")
        return self.page

    @property
    def address(self) -> str:
        return self.site.address  # type: ignore[attr-defined,no-any-return]

    def picture(self, name: str) -> None:
        if PICTURES:
            self.page.wait_for_load_state("networkidle")
            self.page.screenshot(path=Path(PICTURES) / f"{name}.png")


@pytest.fixture
def visit(site: Site, chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Visit]:
    options = getattr(request, "param", {})
    context = chromium.new_context(**{"viewport": {"width": 1200, "height": 860}, **options})
    visit = Visit(site, context)
    yield visit
    context.close()
    assert visit.complaints == []


def states(site: Site, decision: str) -> set[str]:
    """In which states the actions of a decision are."""
    return {row.state for row in site.rows(ACTIONS) if decision in row.decision}


def test_a_reviewers_whole_day(site: Site, visit: Visit) -> None:
    page = visit.sign_in("ann")
    assert page.url.endswith("/queue")
    visit.picture("queue-light")
    waiting = queue(site.house.log.database, now=clock.wall(), limit=500).total
    assert waiting > 4

    # By keyboard alone: choose from the list, open, take, approve.
    for _ in range(2):
        page.keyboard.press("j")
    chosen = page.locator("tr.chosen a").inner_text()
    page.keyboard.press("Enter")
    page.wait_for_url("**/cases/*")
    assert chosen in page.inner_text("h1")
    page.click("text=Take it")
    page.wait_for_selector("[data-key=a], [data-key=c]")
    assert "Yours for" in page.inner_text(".verdict")
    page.wait_for_selector("#main .card:has-text('Features that mattered') table")
    page.wait_for_selector("#main .card:has-text('Similar past decisions') table")
    visit.picture("case-light")
    page.keyboard.press("a")
    page.wait_for_selector(".undo")
    assert "Your verdict: " in page.inner_text(".banner.said")
    decision = f"/{chosen.split()[-1]}@"
    assert states(site, decision) <= {"pending", "waiting"}

    # A second thought: undo, and decide otherwise with a reason.
    page.keyboard.press("u")
    page.wait_for_selector("text=open again")
    assert states(site, decision) == {"cancelled"}
    page.wait_for_selector("text=Yours for")
    page.keyboard.press("c")
    page.select_option("details[data-key=c] select[name=outcome]", "partly")
    page.select_option("details[data-key=c] select[name=reason]", "wrong_data")
    page.fill("details[data-key=c] input[name=comment]", "<b>half</b> of it")
    page.click("details[data-key=c] button[value=change]")
    page.wait_for_selector("text=Your verdict: partly")
    assert "<b>half</b> of it" in page.inner_text("table >> nth=-1")

    # The next one by key: reject asks for a reason, escalate too.
    page.keyboard.press("n")
    page.wait_for_selector("text=Yours for")
    page.select_option(".verdict form >> nth=0 >> select[name=reason]", "agreed")
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("e")
    page.wait_for_selector("text=Your verdict: escalated")

    # Many of one cause, and the queue is shorter; help and sign out.
    page.goto(f"{visit.address}/queue")
    page.click("summary:has-text('One verdict on')")
    page.select_option("select[name=verdict]", "reject")
    page.fill("input[name=limit]", "2")
    page.click("text=Decide them")
    page.wait_for_selector("text=2 cases are decided")
    assert queue(site.house.log.database, now=clock.wall()).total == waiting - 3
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    page.click("details.who summary")
    page.click("text=Sign out")
    page.wait_for_url("**/sign-in")


def test_what_mattered_is_what_moves_the_score(site: Site) -> None:
    loop = site.loop
    rows = decided_rows(loop.automation, loop.lake, key(WEEK)).filter(
        pl.col("model_version").is_not_null()
    )
    row = rows.sort("amount").row(-1, named=True)
    found = mattered(loop.automation, loop.platform, row)
    assert found[0].name in {"amount", "log_amount", "region"}, "what the table was made of"
    sizes = [abs(one.effect) for one in found]
    assert sizes == sorted(sizes, reverse=True)
    # By hand: the score of the row with that one value replaced.
    version = loop.registry.get(NAME, row["model_version"])
    scorer = load(loop.registry, version)
    frame = pl.DataFrame([row]).select(*loop.automation.spec.feature_columns)
    other = frame.with_columns(pl.lit(found[0].usual).alias(found[0].name))
    assert found[0].effect == pytest.approx(scorer.score(frame)[0] - scorer.score(other)[0])
    assert float(scorer.score(frame)[0]) == pytest.approx(row["score"])


def test_a_promotion_takes_two_people(site: Site, chromium: Browser, visit: Visit) -> None:
    registry = site.loop.registry
    present = champion(registry, NAME)
    assert present
    other = next(one.number for one in registry.versions(NAME) if one.number != present.number)
    page = visit.sign_in("mia")
    page.goto(f"{visit.address}/rollouts/{NAME}")
    row = page.locator(f"tr:has(td:first-child a:text-is('{other}'))")
    row.locator("summary").click()
    row.locator("input[name=reason]").fill("it was better in May")
    row.locator("button.go").click()
    page.wait_for_selector("text=needs another person's approval")
    (request,) = requests(site.house.log, NAME)
    assert champion(registry, NAME) == present

    second = Visit(site, chromium.new_context())
    page = second.sign_in("eve")
    page.goto(f"{visit.address}/rollouts/{NAME}")
    card = page.locator(f"#request-{request.number}")
    card.locator("input[name=reason]").fill("the evidence holds")
    second.picture("rollout-light")
    card.locator("button[value=approve]").click()
    page.wait_for_selector(f"text=Request {request.number} is approved")
    assert second.complaints == []
    second.context.close()
    assert requests(site.house.log, NAME)[-1].verdict_by == "person:eve"


def test_an_auditor_asks_why(site: Site, visit: Visit) -> None:
    page = visit.sign_in("udo")
    decided = site.loop.lake.read("decisions", key(WEEK)).filter(outcome="approve").row(0)
    page.goto(f"{visit.address}/decisions")
    page.fill("input[name=find]", f"{NAME}/{decided[0]}")
    page.click("button:has-text('Find')")
    page.wait_for_selector("#why")
    text = page.inner_text("#main")
    assert f"{NAME}/{key(WEEK)}/{decided[0]}@0" in text
    assert "small_and_safe" in text
    assert "trained on" in text
    assert "Override" not in text, "an auditor decides nothing"
    visit.picture("why-light")


def test_the_kill_switch_is_one_click_and_a_confirmation_away(site: Site, visit: Visit) -> None:
    page = visit.sign_in("olga")
    for _ in range(2):
        page.goto(f"{visit.address}/actions")
        page.click("summary:has-text('Kill switch')")
        page.select_option("details.switch select[name=scope]", NAME)
        page.fill("details.switch input[name=reason]", "odd payments")
        visit.picture("switch-light")
        began = time.perf_counter()
        page.click("text=Halt now")
        page.wait_for_selector(".banner.halted")
        assert time.perf_counter() - began < 5
        assert [one.scope for one in halts(site.house.log.database)] == [NAME]
        assert "odd payments" in page.inner_text(".banner.halted")
        release = page.locator(f".card:has-text('{NAME}') form[action='/switch/release']")
        release.locator("input[name=reason]").fill("looked at")
        release.locator("button").click()
        page.wait_for_selector("text=is released")
    assert halts(site.house.log.database) == []
    kinds = [one.kind for one in site.house.log.entries(kind=["halt", "release"])]
    assert kinds == ["halt", "release"] * 2


def test_health_and_measures_are_read(site: Site, visit: Visit) -> None:
    page = visit.sign_in("olga")
    page.goto(f"{visit.address}/health")
    assert NAME in page.inner_text("#health")
    visit.picture("health-light")
    page.goto(f"{visit.address}/measures/{NAME}")
    assert "straight through" in page.inner_text("#main")
    page.goto(f"{visit.address}/reports")
    page.click("ul.list a >> nth=0")
    page.wait_for_load_state("load")
    assert page.url.endswith(".html")
    # A report may complain of what its sandbox forbids; the console's own pages may not.
    visit.complaints.clear()


@pytest.mark.parametrize(
    ("visit", "name"),
    [
        ({"viewport": {"width": 390, "height": 844}, "is_mobile": True}, "phone"),
        ({"color_scheme": "dark"}, "dark"),
    ],
    indirect=["visit"],
)
def test_pages_fit_a_phone_and_the_dark(site: Site, visit: Visit, name: str) -> None:
    page = visit.sign_in("ann")
    case = queue(site.house.log.database, now=clock.wall()).cases[0].id
    for path, what in (("/queue", "queue"), (f"/cases/{case}", "case"), ("/rollouts", "list")):
        page.goto(f"{visit.address}{path}")
        page.wait_for_load_state("networkidle")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= page.viewport_size["width"], f"{what} is {width} wide"  # type: ignore[index]
        if what != "list":
            visit.picture(f"{what}-{name}")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    if name == "dark":
        assert ground == "rgb(17, 21, 28)"
        page.click("[data-theme-switch]")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != ground
        page.reload()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != ground
