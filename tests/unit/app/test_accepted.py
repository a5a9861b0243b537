"""An accepted form holds for a while, and for no longer."""

from __future__ import annotations

from holdfast.app.accepted import HOLDS_S, REMEMBERED, AcceptedForms
from tests.support.clock import VirtualClock


async def test_a_form_holds_for_a_while() -> None:
    clock = VirtualClock()
    forms = AcceptedForms(clock)
    forms.add("a")
    assert "a" in forms
    assert "b" not in forms
    await clock.advance(HOLDS_S - 1)
    assert "a" in forms
    await clock.advance(2)
    assert "a" not in forms


async def test_a_refusal_ends_all_of_them() -> None:
    forms = AcceptedForms(VirtualClock())
    forms.add("a")
    forms.clear()
    assert "a" not in forms


async def test_the_oldest_are_forgotten_first() -> None:
    forms = AcceptedForms(VirtualClock())
    for number in range(REMEMBERED + 1):
        forms.add(str(number))
    assert "0" not in forms
    assert "1" in forms
