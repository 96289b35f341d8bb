"""A folder takes another's place whole or not at all, whatever ends the writing."""

import os

import pytest

from quantize.storage import folder_swap
from quantize.storage.folder_swap import swapped_folder


def names(folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    (folder / "old").write_text("old")
    return folder


def write(new, error: type[BaseException] | None = None) -> None:
    new.mkdir()
    (new / "new").write_text("new")
    if error is not None:
        raise error


def test_the_new_folder_takes_the_place(target):
    with swapped_folder(target) as new:
        write(new)
        assert names(target) == {"old": "old"}
    assert names(target) == {"new": "new"}
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_a_place_where_nothing_is(tmp_path):
    with swapped_folder(tmp_path / "target") as new:
        write(new)
    assert names(tmp_path / "target") == {"new": "new"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
@pytest.mark.parametrize("moment", ["writing", "checking", "first renaming", "second renaming"])
def test_on_a_failure_the_old_folder_stays(target, monkeypatch, moment, error):
    done = []

    def rename(source, goal):
        if str(source).endswith(("target", ".new")):  # the way back is never in the way
            done.append(source)
            if moment == f"{('first', 'second')[len(done) - 1]} renaming":
                raise error
        os.replace(source, goal)

    def check_old(old):
        assert names(old) == {"old": "old"}
        if moment == "checking":
            raise error

    monkeypatch.setattr(folder_swap.os, "rename", rename)
    with pytest.raises(error), swapped_folder(target, check_old) as new:
        write(new, error if moment == "writing" else None)
    assert names(target) == {"old": "old"}
    assert [path.name for path in target.parent.iterdir()] == ["target"]
