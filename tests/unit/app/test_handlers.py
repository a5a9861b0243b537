"""Kopf is configured to watch and to write nothing."""

from __future__ import annotations

from collections.abc import Sized
from itertools import islice
from typing import cast

import kopf
import pytest

from holdfast.api import labels
from holdfast.app.handlers import FINALIZER, EndlessBackoffs, NoDiffs, NoProgress, kopf_settings
from holdfast.app.kinds import REGISTERED


def test_settings_keep_kopf_from_writing_and_from_dying() -> None:
    settings = kopf_settings()
    assert not settings.posting.enabled
    assert settings.peering.standalone
    assert settings.scanning.disabled
    assert settings.queueing.worker_limit is None, "with a limit its workers starve each other"
    assert not settings.watching.initial_streaming, "it loses objects when the stream is cut"
    assert settings.watching.chunk_size is None, "a continuation that has expired would end the process"
    assert settings.persistence.finalizer == FINALIZER
    assert settings.persistence.finalizer != labels.FINALIZER, "Kopf strips its own finalizer from every object"


def test_storages_hold_nothing() -> None:
    body = kopf.Body({"metadata": {"annotations": {"a": "b"}}, "spec": {"x": 1}})
    patch = kopf.Patch()
    diffs, progress = NoDiffs(), NoProgress()
    diffs.store(body=body, patch=patch, essence=diffs.build(body=body))
    progress.store(key="k", record={}, body=body, patch=patch)
    progress.touch(body=body, patch=patch, value="now")
    progress.purge(key="k", body=body, patch=patch)
    assert not patch
    assert diffs.build(body=body) == {}
    assert diffs.fetch(body=body) is None
    assert progress.fetch(key="k", body=body) is None


def test_back_offs_never_end_and_can_be_read_many_times() -> None:
    delays = EndlessBackoffs()
    assert list(islice(delays, 6)) == [1, 2, 4, 8, 15, 15]
    assert list(islice(delays, 1000))[-1] == 15
    with pytest.raises(TypeError):
        len(cast(Sized, delays))


def test_every_kind_is_one_line() -> None:
    assert [registration.resource.plural for registration in REGISTERED] == ["trainingjobs"]
    assert len({registration.name_label for registration in REGISTERED}) == len(REGISTERED)
