"""What the environment says, and what is refused rather than guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.client import environment, orbax


def test_outside_of_holdfast_there_are_sensible_answers() -> None:
    assert not environment.inside()
    assert environment.checkpoint_directory() == Path("checkpoints")
    assert environment.restored_step() is None
    assert environment.every_steps() == 100
    assert environment.attempt() == 1
    assert environment.slot() == "0-0"
    assert not environment.shared_directory()


@pytest.mark.parametrize(("content", "step"), [("", None), ("\n", None), ("0", 0), ("1200\n", 1200)])
def test_the_restored_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, step: int | None) -> None:
    path = tmp_path / "restored-step"
    path.write_text(content)
    monkeypatch.setenv(environment.RESTORED_STEP_FILE, str(path))
    assert environment.restored_step() == step


@pytest.mark.parametrize("content", [b"-1", b"1.5", b"latest", b"1 2", "\u0661".encode(), b"\xff"])
def test_a_restored_step_that_makes_no_sense_stops_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    path = tmp_path / "restored-step"
    path.write_bytes(content)
    monkeypatch.setenv(environment.RESTORED_STEP_FILE, str(path))
    with pytest.raises(environment.EnvironmentInvalid, match=environment.RESTORED_STEP_FILE):
        environment.restored_step()


def test_a_missing_file_of_the_restored_step_stops_the_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(environment.RESTORED_STEP_FILE, str(tmp_path / "nowhere"))
    with pytest.raises(environment.EnvironmentInvalid, match="no such file"):
        environment.restored_step()


@pytest.mark.parametrize("text", ["0", "-5", "ten", "1e3"])
def test_a_cadence_that_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(environment.EVERY_STEPS, text)
    with pytest.raises(environment.EnvironmentInvalid, match=environment.EVERY_STEPS):
        environment.every_steps()


def test_a_shared_directory_is_left_to_orbax_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(environment.CHECKPOINT_DIR, str(tmp_path))
    monkeypatch.setenv(environment.LAYOUT, "PerHost")
    orbax.require_own(tmp_path, 2)
    monkeypatch.setenv(environment.LAYOUT, "Shared")
    with pytest.raises(environment.EnvironmentInvalid, match=r"make an orbax\.checkpoint\.CheckpointManager of it"):
        orbax.require_own(tmp_path, 2)
    orbax.require_own(tmp_path, 1)
    orbax.require_own(tmp_path / "mine", 2)
