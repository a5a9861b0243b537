"""Every log line is one JSON object with a stable event name."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from holdfast.app.logs import JsonFormatter, configure


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_own_lines_carry_their_event_and_fields(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO")
    logging.getLogger("holdfast.cluster.lease").info(
        "lease.acquired", extra={"fields": {"identity": "a", "at": datetime(2030, 1, 1, tzinfo=UTC), "level": "no"}}
    )
    line = lines(capsys.readouterr().err)[0]
    assert (line["event"], line["identity"], line["level"]) == ("lease.acquired", "a", "INFO")
    assert str(line["time"]).endswith("+00:00")


def test_lines_of_libraries_keep_their_text(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO")
    logging.getLogger("kopf.activities").info("Activity %r succeeded.", "x")
    logging.getLogger("kopf.objects").info("Handler succeeded.")
    logging.getLogger("kopf.objects").warning("Trouble.")
    found = lines(capsys.readouterr().err)
    assert [line["message"] for line in found] == ["Activity 'x' succeeded.", "Trouble."]
    assert {line["event"] for line in found} == {"log"}


def test_an_exception_stays_on_its_line() -> None:
    try:
        raise ValueError("a\nb")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
        record = logging.LogRecord("holdfast.app", logging.ERROR, "f.py", 1, "pass.failed", None, info)
    text = JsonFormatter().format(record)
    assert "\n" not in text
    assert "ValueError: a" in json.loads(text)["exception"]


def test_the_level_holds_for_everything(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    configure("ERROR")
    logging.getLogger("holdfast.app").warning("quiet")
    logging.getLogger("kopf.objects").warning("quiet")
    assert capsys.readouterr().err == ""
