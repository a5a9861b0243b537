"""What a progress report holds, and what is left out of it."""

from __future__ import annotations

import math
from typing import cast

import pytest

from holdfast.client import progress
from tests.unit.client.listening import Listening, eventually


class Scalar:
    """Something like a framework's scalar: a number only when it is asked."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value

    def __int__(self) -> int:
        return int(self.value)


def test_framework_scalars_are_numbers(sidecar: Listening) -> None:
    progress.report(Scalar(5), Scalar(10), Scalar(0.25), Scalar(2.0))
    eventually(lambda: sidecar.of_type("progress"))
    assert sidecar.of_type("progress") == [
        {"type": "progress", "step": 5, "total": 10, "loss": 0.25, "stepsPerSecond": 2.0}
    ]


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_json_cannot_say_is_left_out(sidecar: Listening, loss: float) -> None:
    progress.report(1, loss=loss)
    eventually(lambda: sidecar.of_type("progress"))
    assert "loss" not in sidecar.of_type("progress")[0]


def test_nonsense_is_logged_and_never_raised(sidecar: Listening, caplog: pytest.LogCaptureFixture) -> None:
    progress.report(cast(int, "soon"))
    assert "step 'soon' is not reported" in caplog.text
    progress.report(1)
    eventually(lambda: sidecar.of_type("progress"))


def test_the_rate_comes_from_steps_and_time() -> None:
    rate = progress.Rate(window_s=2)
    assert rate.at(100, 10.0) is None
    assert rate.at(110, 11.0) is None
    assert rate.at(140, 12.0) == 20
    assert rate.at(141, 13.0) == 20
    assert rate.at(150, 14.0) == 5


def test_the_rate_begins_anew_when_the_steps_go_back() -> None:
    rate = progress.Rate(window_s=1)
    rate.at(100, 0.0)
    assert rate.at(200, 1.0) == 100
    assert rate.at(50, 2.0) is None
    assert rate.at(60, 3.0) == 10
