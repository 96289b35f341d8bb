"""A folder is written whole or not at all, and nobody's files are lost."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from folder_building import written

from deploy.firmware import FolderError, check_target, write_firmware
from deploy.firmware_folder import folder as folder_module
from deploy.firmware_folder.folder import MARKER


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip


def test_what_is_written_is_listed(in_c, tmp_path):
    folder = written(in_c, tmp_path / "new" / "firmware")
    there = content(folder)
    marker = json.loads(there.pop(MARKER))
    assert there == in_c.files
    assert marker["files"] == {n: hashlib.sha256(d).hexdigest() for n, d in there.items()}


def test_a_foreign_folder_is_left_alone(in_c, tmp_path):
    (tmp_path / "thesis.tex").write_text("three years of work")
    for force in (False, True):
        with pytest.raises(FolderError, match="holds other files, and is left as it is"):
            write_firmware(in_c, tmp_path, force)
    assert content(tmp_path) == {"thesis.tex": b"three years of work"}
    with pytest.raises(FolderError, match="is a file"):
        check_target(tmp_path / "thesis.tex")


@pytest.mark.parametrize(
    "marker", [b"", b"[]", b"{}", b'{"format": "other", "files": {}}', b'{"format": 1', b"\xff"]
)
def test_a_list_that_is_not_ours_makes_no_folder_ours(in_c, tmp_path, marker):
    (tmp_path / MARKER).write_bytes(marker)
    with pytest.raises(FolderError, match="holds other files"):
        write_firmware(in_c, tmp_path)


def test_changed_files_are_kept_and_named(in_c, on_tflm, tmp_path):
    folder = written(in_c, tmp_path / "firmware")
    (folder / "Makefile").write_text("mine:\n")
    (folder / "examples" / "run_task.c").write_text("mine\n")
    (folder / "src" / "kt_softmax.c").unlink()
    again = write_firmware(in_c, folder)
    assert again.kept == ("Makefile", "examples/run_task.c")
    assert (folder / "Makefile").read_text() == "mine:\n"
    assert (folder / "src" / "kt_softmax.c").is_file()
    # Kept once more: what was written counts, not what was found.
    other = write_firmware(on_tflm, folder)
    assert other.kept == ("Makefile", "examples/run_task.c")
    assert not (folder / "model" / "kt_model.c").exists()
    forced = write_firmware(on_tflm, folder, force=True)
    assert forced.replaced == ("Makefile",)
    assert content(folder).keys() == {*on_tflm.files, MARKER, "examples/run_task.c"}
    assert (folder / "examples" / "run_task.c").read_text() == "mine\n"


def test_files_of_the_users_own_stay(in_c, tmp_path):
    folder = written(in_c, tmp_path / "firmware")
    (folder / "build" / "deep").mkdir(parents=True)
    (folder / "build" / "deep" / "app.o").write_bytes(b"object")
    (folder / "link").symlink_to("nowhere")
    assert write_firmware(in_c, folder).own == 2
    assert (folder / "build" / "deep" / "app.o").read_bytes() == b"object"
    assert os.readlink(folder / "link") == "nowhere"


def test_a_file_of_the_users_is_not_overwritten_by_a_new_one(in_c, on_tflm, tmp_path):
    folder = written(on_tflm, tmp_path / "firmware")
    (folder / "model" / "kt_model.c").write_text("mine")
    with pytest.raises(FolderError, match=r"received model/kt_model\.c\. Move them away"):
        write_firmware(in_c, folder)
    assert (folder / "model" / "kt_model.c").read_text() == "mine"
    assert (folder / "src" / "kt_tflm.cc").is_file()
    write_firmware(in_c, folder, force=True)
    assert content(folder).keys() == {*in_c.files, MARKER}


def test_a_list_cannot_lead_out_of_the_folder(in_c, tmp_path):
    folder = written(in_c, tmp_path / "firmware")
    (tmp_path / "precious").write_text("mine")
    marker = json.loads((folder / MARKER).read_text())
    marker["files"] |= {"../precious": "0", str(tmp_path / "precious"): "0"}
    (folder / MARKER).write_text(json.dumps(marker))
    assert write_firmware(in_c, folder).kept == ()
    assert (tmp_path / "precious").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["firmware", "precious"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there(in_c, on_tflm, tmp_path, monkeypatch, error):
    folder = written(in_c, tmp_path / "firmware")
    before = content(folder)

    def fail(*arguments: object) -> None:
        if str(arguments[0]).endswith(".new"):
            raise error
        rename(*arguments)

    rename = os.rename
    monkeypatch.setattr(folder_module.os, "rename", fail)
    expected = FolderError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write_firmware(on_tflm, folder)
    assert content(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["firmware"]


def test_a_link_to_a_folder_is_followed(in_c, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert write_firmware(in_c, tmp_path / "link").folder == tmp_path / "real"
    assert (tmp_path / "link").is_symlink()
