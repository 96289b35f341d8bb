"""The folder on disk: whole or not at all, whatever fails, and nothing of the user's is lost."""

import builtins
import errno
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from quantize.bundle import Bundle, BundleError
from quantize.storage import folder as bundle_folder

ROOT = Path(__file__).parents[3]


def contents(folder):
    """Every path below a folder, hidden ones too, with the bytes of files."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


class Saboteur:
    """Lets the nth step that changes the disk fail, before it is done or right after."""

    def __init__(self, monkeypatch, step, error, done_first):
        self.step, self.error, self.done_first = step, error, done_first
        self.count = 0
        for name in ("mkdir", "rename", "fsync"):
            monkeypatch.setattr(os, name, self.wrapped(getattr(os, name)))
        opening = self.wrapped(builtins.open)
        monkeypatch.setattr(bundle_folder, "open", opening, raising=False)

    def wrapped(self, function):
        def run(*arguments, **named):
            strikes = self.count == self.step
            self.count += 1
            if strikes and not self.done_first:
                raise self.error
            result = function(*arguments, **named)
            if strikes:
                if hasattr(result, "close"):
                    result.close()
                raise self.error
            return result

        return run


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EIO, "Input/output error"),
        KeyboardInterrupt(),
        MemoryError(),
    ],
    ids=["full disk", "broken disk", "ctrl-c", "out of memory"],
)
@pytest.mark.parametrize("done_first", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failure_at_any_step_leaves_old_or_new_and_no_litter(
    small_bundle, tmp_path, error, done_first, overwrite
):
    """Every step in turn fails; at the path stands the whole old or the whole new bundle."""
    old = small_bundle.select("digit")
    new = replace(small_bundle, name="new")
    target = tmp_path / "place" / "bundle"
    target.parent.mkdir()
    written = contents(new.save(tmp_path / "reference"))
    if overwrite:
        old.save(target)
    before = contents(target.parent)
    outcomes = set()
    for step in range(1, 100):  # step 0 is the parent's mkdir, which may fail if it is there
        with pytest.MonkeyPatch.context() as monkeypatch:
            Saboteur(monkeypatch, step, error, done_first)
            try:
                new.save(target, overwrite=overwrite)
                failed = False
            except (BundleError, KeyboardInterrupt, MemoryError):
                failed = True
        if failed and target.exists() and contents(target) == written:
            # Struck after the swap: the new bundle stands whole. Begin again from the old one.
            assert set(os.listdir(target.parent)) == {"bundle"}
            outcomes.add("new")
            (old.save(target, overwrite=True) if overwrite else target.rename(tmp_path / str(step)))
        elif failed:
            assert contents(target.parent) == before
            outcomes.add("old")
        else:
            break
    assert step > 20, "the steps of writing were not reached"
    assert contents(target) == written
    assert set(os.listdir(target.parent)) == {"bundle"}
    assert "old" in outcomes
    assert "new" in outcomes or not done_first


def test_a_full_disk_says_path_bytes_and_what_to_do(small_bundle, tmp_path, monkeypatch):
    needed = sum(len(data) for data in contents(small_bundle.save(tmp_path / "x")).values() if data)
    Saboteur(monkeypatch, 3, OSError(errno.ENOSPC, "No space left on device"), False)
    with pytest.raises(BundleError) as caught:
        small_bundle.save(tmp_path / "bundle")
    message = str(caught.value)
    assert f"'{tmp_path / 'bundle'}' ({needed} bytes)" in message
    assert "No space left on device" in message
    assert "bytes free" in message
    assert "Free some space, or choose a folder on another disk" in message


def test_a_read_only_disk_names_the_parent(small_bundle, tmp_path, monkeypatch):
    Saboteur(monkeypatch, 1, OSError(errno.EROFS, "Read-only file system"), False)
    with pytest.raises(BundleError, match=r"Read-only file system.*'.*' cannot be written to"):
        small_bundle.save(tmp_path / "bundle")


def test_a_path_below_a_file_is_refused(small_bundle, tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file" / "bundle", tmp_path / "file" / "deeper" / "bundle"):
        with pytest.raises(BundleError, match="Choose a path whose parents are folders"):
            small_bundle.save(folder)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_real_limit_on_file_length_leaves_the_old_bundle(small_bundle, tmp_path):
    """The system itself refuses to write more than 1000 bytes into one file."""
    pytest.importorskip("resource")
    source, target = small_bundle.save(tmp_path / "source"), tmp_path / "place" / "bundle"
    small_bundle.select("digit").save(target)
    before = contents(target.parent)
    script = (
        "import resource, sys; from quantize.bundle import Bundle, BundleError\n"
        "bundle = Bundle.load(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: bundle.save(sys.argv[2], overwrite=True)\n"
        "except BundleError as error: sys.stdout.write(str(error))\n"
    )
    ran = run_python(script, source, target)
    assert ran.returncode == 0, ran.stderr
    assert "File too large" in ran.stdout
    assert contents(target.parent) == before


def test_a_process_killed_between_the_renamings_leaves_the_old_bundle_beside(
    small_bundle, tmp_path
):
    old = small_bundle.select("digit")
    source, target = small_bundle.save(tmp_path / "source"), tmp_path / "place" / "bundle"
    old.save(target)
    script = (
        "import os, sys; from quantize.bundle import Bundle\n"
        "rename = os.rename\n"
        "def renamed_and_killed(*names): rename(*names); os._exit(9)\n"
        "os.rename = renamed_and_killed\n"
        "Bundle.load(sys.argv[1]).save(sys.argv[2], overwrite=True)\n"
    )
    assert run_python(script, source, target).returncode == 9
    with pytest.raises(BundleError, match=r"cut off left the bundle at .*: rename it") as caught:
        Bundle.load(target)
    left = str(caught.value).split("left the bundle at '")[1].split("'")[0]
    assert Bundle.load(left) == old


def run_python(script, *arguments):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)


def test_an_existing_bundle_is_only_replaced_when_asked(small_bundle, tmp_path):
    folder = small_bundle.select("digit").save(tmp_path / "bundle")
    before = contents(tmp_path)
    with pytest.raises(BundleError, match="Pass overwrite=True"):
        small_bundle.save(folder)
    assert contents(tmp_path) == before
    small_bundle.save(folder, overwrite=True)
    assert Bundle.load(folder) == small_bundle


def make_file(folder):
    folder.write_text("mine")


def make_foreign_folder(folder):
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")


def make_foreign_manifest(folder):
    folder.mkdir()
    (folder / "manifest.json").write_text('{"name": "a web app"}')


def make_damaged_manifest(folder):
    folder.mkdir()
    (folder / "manifest.json").write_text("{")


def make_bundle_with_notes(folder):
    for part in ("nodes", "golden", "nodes/deeper"):
        (folder / part).mkdir(parents=True)
    (folder / "manifest.json").write_text('{"format": "keras-tree bundle"}')
    (folder / "nodes" / "deeper" / "notes.txt").write_text("mine")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_file, "is a file"),
        (make_foreign_folder, "is a folder that is no bundle"),
        (make_foreign_manifest, "is a folder that is no bundle"),
        (make_damaged_manifest, "is a folder that is no bundle"),
        (make_bundle_with_notes, r"no part of a bundle \(nodes/deeper, nodes/deeper/notes.txt\)"),
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_bundle_is_never_replaced(small_bundle, tmp_path, make, message, overwrite):
    make(tmp_path / "bundle")
    before = contents(tmp_path)
    with pytest.raises(BundleError, match=message):
        small_bundle.save(tmp_path / "bundle", overwrite=overwrite)
    assert contents(tmp_path) == before


def test_an_empty_folder_and_missing_parents_are_filled(small_bundle, tmp_path):
    (tmp_path / "empty").mkdir()
    assert Bundle.load(small_bundle.save(tmp_path / "empty")) == small_bundle
    assert Bundle.load(small_bundle.save(tmp_path / "a" / "b" / "c")) == small_bundle


def test_what_file_browsers_leave_does_not_keep_a_bundle_from_being_replaced(
    small_bundle, tmp_path
):
    folder = small_bundle.save(tmp_path / "bundle")
    (folder / "nodes" / ".DS_Store").write_text("")
    assert small_bundle.save(folder, overwrite=True) == folder


def test_a_link_is_followed_and_stays_a_link(small_bundle, tmp_path):
    real = small_bundle.select("digit").save(tmp_path / "real")
    (tmp_path / "link").symlink_to(real)
    assert small_bundle.save(tmp_path / "link", overwrite=True) == real
    assert (tmp_path / "link").is_symlink()
    assert Bundle.load(tmp_path / "link") == small_bundle


def test_a_bundle_that_another_process_wrote_meanwhile_is_not_replaced(
    small_bundle, tmp_path, monkeypatch
):
    other, target = small_bundle.select("digit"), tmp_path / "bundle"
    write_files = bundle_folder._write_files

    def write_and_be_overtaken(*arguments):
        write_files(*arguments)
        monkeypatch.setattr(bundle_folder, "_write_files", write_files)
        other.save(target)

    monkeypatch.setattr(bundle_folder, "_write_files", write_and_be_overtaken)
    with pytest.raises(BundleError, match="written by another process at the same time"):
        small_bundle.save(target)
    assert Bundle.load(target) == other
    assert os.listdir(tmp_path) == ["bundle"]


def test_others_may_read_the_bundle_as_the_umask_says(small_bundle, tmp_path):
    earlier = os.umask(0o022)
    try:
        folder = small_bundle.save(tmp_path / "bundle")
    finally:
        os.umask(earlier)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "nodes")}
    assert modes == {0o755}
    assert stat.S_IMODE((folder / "nodes" / "trunk.tflite").stat().st_mode) == 0o644


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "ä", "a b", "x" * 201, "a\n"])
def test_names_that_are_unsafe_as_files_are_refused(name):
    with pytest.raises(BundleError, match="Rename the node"):
        bundle_folder.check_name(name, "node")


@pytest.mark.parametrize("name", ["trunk", "kws_12", "a.b-c", "0", ".hidden", "x" * 200])
def test_safe_names_pass(name):
    bundle_folder.check_name(name, "node")
