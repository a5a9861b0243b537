"""Reasons: each has its facts, its word, and its paragraph in the runbook."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.api.conditions import ConditionType
from holdfast.api.reason_facts import FACTS, RUNBOOK, anchor
from holdfast.api.reasons import Reason, Sort

ROOT = Path(__file__).parents[3]


def _sections() -> dict[str, str]:
    """The runbook's paragraphs by the anchor that Markdown renderers give to their heading."""
    text = (ROOT / RUNBOOK).read_text(encoding="utf-8")
    parts = re.split(r"^### (.+)$", text, flags=re.MULTILINE)
    return {title.strip().lower().replace(" ", "-"): body for title, body in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.mark.parametrize("reason", Reason)
def test_reason_has_a_paragraph_in_the_runbook(reason: Reason) -> None:
    path, _, fragment = anchor(reason).partition("#")
    assert path == RUNBOOK
    body = _sections()[fragment].split("\n## ")[0]
    assert len(body.split()) >= 10, "say what it means and what to do"
    if FACTS[reason].sort in (Sort.WAITING, Sort.REFUSED, Sort.WARNING) or FACTS[reason].next_step:
        assert "**Do:**" in body


def test_runbook_speaks_of_nothing_else() -> None:
    assert set(_sections()) == {reason.value.lower() for reason in Reason}


@pytest.mark.parametrize("reason", Reason)
def test_word_is_camel_case_and_follows_from_the_name(reason: Reason) -> None:
    assert reason.value == "".join(part.capitalize() for part in reason.name.split("_"))
    assert reason in FACTS


def test_facts_end_as_sentences() -> None:
    for reason, facts in FACTS.items():
        assert facts.meaning.endswith("."), reason
        assert not facts.next_step or facts.next_step.endswith("."), reason


def test_condition_types_are_camel_case() -> None:
    assert all(re.fullmatch(r"[A-Z][A-Za-z]+", kind.value) for kind in ConditionType)
