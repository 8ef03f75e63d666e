"""Policies: the first rule decides, missing inputs never do, and the hash follows the meaning."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.errors import AiosError
from aios.policy import Policy, Rule, load_policy

pytestmark = pytest.mark.unit

TEXT = """
version: 2
required: [score, region]
rules:
  - {name: risky, when: score >= 0.7, outcome: block, reason: Likely fraud.}
  - {name: huge, when: "amount > 1000 and region = 'north'", outcome: review, reason: Much to lose.}
  - {name: safe, when: score < 0.2, outcome: approve, reason: Little risk.}
otherwise: {name: unclear, outcome: review, reason: Neither.}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(TEXT)
    return path


def decide(policy: Policy, **columns: list[Any]) -> list[tuple[str, str, str]]:
    return policy.decide(pl.DataFrame(columns)).rows()


def test_the_first_rule_decides_and_all_that_fired_are_listed(path: Path) -> None:
    policy = load_policy(path)
    verdicts = decide(
        policy,
        score=[0.9, 0.1, 0.1, 0.5, 0.9],
        amount=[1.0, 5000.0, 1.0, 1.0, 5000.0],
        region=["north", "north", "north", "south", "north"],
        other=[1, 2, 3, 4, 5],
    )
    assert verdicts == [
        ("block", "risky", "risky"),
        ("review", "huge", "huge,safe"),
        ("approve", "safe", "safe"),
        ("review", "unclear", ""),
        ("block", "risky", "risky,huge"),
    ]
    assert policy.inputs == ["amount", "region", "score"]
    assert policy.outcomes == ["approve", "block", "review"]


@pytest.mark.parametrize("missing", [None, float("nan")])
@pytest.mark.parametrize("column", ["score", "amount"])
def test_a_missing_input_goes_to_review(path: Path, column: str, missing: float | None) -> None:
    row: dict[str, list[Any]] = {"score": [0.1], "amount": [1.0], "region": ["south"]}
    assert decide(load_policy(path), **row)[0][0] == "approve"
    row[column] = [missing]
    frame = {name: pl.Series(values, dtype=pl.Float64 if name == column else None)
             for name, values in row.items()}  # fmt: skip
    verdict = load_policy(path).decide(pl.DataFrame(frame)).row(0)
    assert verdict == ("review", "missing_input", "missing_input")


def test_a_required_input_that_no_rule_uses_counts_too(path: Path) -> None:
    policy = Policy(version=1, required=["score", "age"], rules=[], otherwise={"outcome": "accept"})
    assert decide(policy, score=[0.1, 0.1], age=[None, 3]) == [
        ("review", "missing_input", "missing_input"),
        ("accept", "otherwise", ""),
    ]


def test_no_rows_are_decided_as_no_rows(path: Path) -> None:
    empty = pl.DataFrame(schema={"score": pl.Float64, "amount": pl.Float64, "region": pl.String})
    verdicts = load_policy(path).decide(empty)
    assert verdicts.height == 0
    assert verdicts.columns == ["outcome", "rule", "fired"]


# Random policies over three columns, each rule with an oracle in plain Python.
COLUMNS = ["score", "a", "b"]
NUMBERS = st.integers(-3, 3).map(float)
OPERATORS = {
    ">": lambda x, y: x > y,
    ">=": lambda x, y: x >= y,
    "<": lambda x, y: x < y,
    "=": lambda x, y: x == y,
    "<>": lambda x, y: x != y,
}
TERMS = st.tuples(st.sampled_from(COLUMNS), st.sampled_from(list(OPERATORS)), NUMBERS)
RULES = st.lists(
    st.tuples(
        st.lists(TERMS, min_size=1, max_size=3),
        st.sampled_from(["and", "or"]),
        st.booleans(),
        st.sampled_from(["approve", "block", "accept"]),
    ),
    max_size=5,
)
FRAMES = st.lists(
    st.tuples(*[NUMBERS | st.none() | st.just(float("nan")) for _ in COLUMNS]), max_size=12
)


def condition(terms: list[Any], word: str, negated: bool) -> str:
    text = f" {word} ".join(f"{column} {sign} {number}" for column, sign, number in terms)
    return f"not ({text})" if negated else text


def holds(row: dict[str, float], terms: list[Any], word: str, negated: bool) -> bool:
    each = [OPERATORS[sign](row[column], number) for column, sign, number in terms]
    return (all(each) if word == "and" else any(each)) is not negated


@given(RULES, FRAMES, st.lists(st.sampled_from(COLUMNS), min_size=1, unique=True))
def test_decisions_equal_those_taken_row_by_row(
    rules: list[Any], rows: list[Any], required: list[str]
) -> None:
    policy = Policy(
        version=1,
        required=required,
        rules=[
            {"name": f"r{i}", "when": condition(*rule[:3]), "outcome": rule[3], "reason": "."}
            for i, rule in enumerate(rules)
        ],
        otherwise={"outcome": "approve"},
    )
    frame = pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.Float64), orient="row")
    used = {*required, *(term[0] for rule in rules for term in rule[0])}
    assert policy.inputs == sorted(used)
    for row, verdict in zip(frame.iter_rows(named=True), policy.decide(frame).rows(), strict=True):
        if any(row[name] is None or math.isnan(row[name]) for name in used):
            assert verdict == ("review", "missing_input", "missing_input")
            continue
        fired = [i for i, rule in enumerate(rules) if holds(row, *rule[:3])]
        outcome = rules[fired[0]][3] if fired else "approve"
        name = f"r{fired[0]}" if fired else "otherwise"
        assert verdict == (outcome, name, ",".join(f"r{i}" for i in fired))


def test_many_rules_still_have_a_place_each() -> None:
    rules = [
        {"name": f"r{i}", "when": f"score = {i}", "outcome": "block", "reason": "."}
        for i in range(62)
    ]
    policy = Policy(version=1, rules=rules)
    names = [rule for _, rule, _ in decide(policy, score=list(range(62)))]
    assert names == [f"r{i}" for i in range(62)]


def test_comments_and_layout_do_not_change_the_hash(path: Path) -> None:
    before = load_policy(path).hash
    path.write_text(
        "# why\n" + TEXT.replace("required: [score, region]", "required:\n- score\n- region")
    )
    assert load_policy(path).hash == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("score >= 0.7", "score >= 0.8"),
        ("outcome: block", "outcome: review"),
        ("version: 2", "version: 3"),
        ("Likely fraud.", "Fraud."),
        ("[score, region]", "[score]"),
        ("name: unclear", "name: open"),
    ],
)
def test_a_change_of_meaning_changes_the_hash(path: Path, old: str, new: str) -> None:
    before = load_policy(path).hash
    path.write_text(TEXT.replace(old, new))
    assert load_policy(path).hash != before


def test_the_order_of_rules_is_part_of_the_meaning(path: Path) -> None:
    policy = load_policy(path)
    turned = policy.model_copy(update={"rules": policy.rules[::-1]})
    assert Policy(**turned.model_dump()).hash != policy.hash


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("score >= 0.7", "score >=", "rules.0.when.*not a SQL condition"),
        ("score >= 0.7", "score >= 0.7 and (", "rules.0.when.*not a SQL condition"),
        ("outcome: block", "outcome: Block it", "rules.0.outcome"),
        ("name: risky", "name: Risky!", "rules.0.name"),
        ("reason: Likely fraud.", "why: x", "rules.0"),
        ("version: 2", "version: two", "version"),
        ("version: 2", "", "version"),
        ("[score, region]", "[]", "required"),
        ("version: 2", "missing: approve\nversion: 2", "missing"),
        ("version: 2", "version: 2\nextra: 1", "extra"),
        ("version: 2", "version: [", "not YAML"),
        (TEXT, "", "dictionary"),
    ],
)
def test_a_wrong_policy_names_file_and_field(path: Path, old: str, new: str, says: str) -> None:
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(AiosError, match=f"(?s){says}") as error:
        load_policy(path)
    assert error.value.where == str(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AiosError, match="no such policy file") as error:
        load_policy(tmp_path / "none.yaml")
    assert error.value.where == str(tmp_path / "none.yaml")


def test_a_column_that_nobody_provides_is_named(path: Path) -> None:
    policy = load_policy(path)
    policy.check_columns(["score", "amount", "region", "more"])
    with pytest.raises(AiosError, match="uses amount, which") as error:
        policy.check_columns(["score", "region"])
    assert "region, score" in error.value.fix


@pytest.mark.parametrize("when", ["amount", "amount > 'abc'", "1"])
def test_a_rule_that_is_no_condition_is_a_clear_error(when: str) -> None:
    rules = [{"name": "odd", "when": when, "outcome": "approve", "reason": "."}]
    with pytest.raises(AiosError, match="the rules cannot be evaluated"):
        decide(Policy(version=1, rules=rules), score=[0.5], amount=[1.0])


@pytest.mark.parametrize(
    "when",
    ["score > avg(score)", "score / amount > 1", "sqrt(amount) > 1", "amount % 2 = 0",
     "coalesce(score, 0) < 1", "case when score > 1 then true else false end"],
)  # fmt: skip
def test_a_rule_that_could_see_other_rows_or_make_a_nan_is_refused(when: str) -> None:
    with pytest.raises(ValueError, match="compute anything else"):
        Rule(name="odd", when=when, outcome="approve", reason="because")


@pytest.mark.parametrize(
    "when",
    ["a + b - 2 * c >= 1", "a in (1, 2) and not b between 1 and 2", "name like 'x%' or flag",
     "name is not null and name <> 'x'"],
)  # fmt: skip
def test_comparisons_of_columns_and_values_are_allowed(when: str) -> None:
    assert Rule(name="fine", when=when, outcome="approve", reason="because").when == when


def test_two_rules_of_one_name_are_refused() -> None:
    rule = {"name": "same", "when": "score > 1", "outcome": "block", "reason": "because"}
    with pytest.raises(ValueError, match="same is declared twice"):
        Policy(version=1, rules=[rule, rule])
