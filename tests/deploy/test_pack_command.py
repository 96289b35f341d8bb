"""`keras-tree pack`, `unpack` and `verify`: what they write, say and answer."""

import re
import subprocess
from pathlib import Path

import pytest

from deploy.cli import main
from deploy.packed_image import read_image
from quantize.bundle import Bundle


@pytest.fixture
def run(capsys, tmp_path, monkeypatch, bundle_folder):
    """Run a command in an empty folder; "BUNDLE" stands for the bundle. (code, stdout, stderr)"""
    monkeypatch.chdir(tmp_path)

    def call(*words: str):
        code = main([str(bundle_folder) if word == "BUNDLE" else word for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def keys(tmp_path) -> None:
    """key.pem and public.pem in the folder, and another pair."""
    for prefix in ("", "other-"):
        for command in (
            ["genpkey", "-algorithm", "ed25519", "-out", f"{prefix}key.pem"],
            ["pkey", "-in", f"{prefix}key.pem", "-pubout", "-out", f"{prefix}public.pem"],
        ):
            subprocess.run(
                ["openssl", *command], check=True, capture_output=True, cwd=tmp_path, timeout=60
            )


def succeeds(told) -> str:
    code, out, err = told
    assert (code, err) == (0, "")
    return out


def fails(told) -> str:
    code, out, err = told
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    return err


def test_pack_verify_unpack(run, device_bundle) -> None:
    out = succeeds(run("pack", "BUNDLE", "-o", "image.bin", "--version", "4"))
    assert out.startswith("wrote image.bin\n  full image of 'device', version 4, not signed\n")
    assert "  task digit: trunk > digit, 5 labels\n" in out
    assert out.endswith("  task angle: trunk > angle\n")
    told = succeeds(run("verify", "image.bin"))
    assert told == "image.bin: valid\n" + out.partition("\n")[2]
    succeeds(run("unpack", "image.bin", "-o", "unpacked"))
    for name, node in device_bundle.nodes.items():
        assert Path(f"unpacked/nodes/{name}.tflite").read_bytes() == node.data


def test_some_tasks_as_a_c_array(run) -> None:
    out = succeeds(run("pack", "BUNDLE", "--tasks", "angle", "--c-array", "trees.c"))
    assert out.startswith("wrote trees.c: array trees, length trees_bytes\n")
    text = Path("trees.c").read_text()
    assert "const uint8_t trees[" in text
    assert not Path("image.bin").exists()


def test_a_branch_and_its_full_image(run, bundle_folder) -> None:
    succeeds(run("pack", "BUNDLE", "-o", "image.bin"))
    out = succeeds(run("pack", "BUNDLE", "-o", "digit.bin", "--delta-for", "digit"))
    (seam,) = Bundle.load(bundle_folder).seams
    assert "  task digit: (trunk) > digit, 5 labels\n" in out
    assert f"the seam trunk {seam.contract}, {seam.contract_sha256}\n" in out
    assert "give its full image with --base" in succeeds(run("verify", "digit.bin"))
    fitting = succeeds(run("verify", "digit.bin", "--base", "image.bin", "--same-trunk"))
    assert "--base" not in fitting


def test_a_branch_for_another_seam_is_not_valid(run, tmp_path) -> None:
    from dataclasses import replace

    from deploy.packed_image import encode

    succeeds(run("pack", "BUNDLE", "-o", "image.bin"))
    succeeds(run("pack", "BUNDLE", "-o", "digit.bin", "--delta-for", "digit"))
    image = read_image(Path("image.bin").read_bytes())
    tensors = tuple(
        replace(tensor, zero_point=5) if tensor.name else tensor for tensor in image.tensors
    )
    Path("other.bin").write_bytes(encode(replace(image, tensors=tensors)))
    code, out, err = run("verify", "digit.bin", "--base", "other.bin")
    assert (code, err) == (1, "")
    assert out.startswith("digit.bin: not valid (SEAM). The output of node 'trunk' must have")
    assert "on top of the bundle that is on the device" in out


def test_signatures(run, keys) -> None:
    pack = ("pack", "BUNDLE", "-o", "image.bin", "--version", "3", "--sign", "key.pem")
    assert "version 3, signed (Ed25519)" in succeeds(run(*pack))
    assert "give the key with --public-key" in succeeds(run("verify", "image.bin"))
    genuine = succeeds(run("verify", "image.bin", "--public-key", "public.pem"))
    assert "--public-key" not in genuine
    code, out, _ = run("verify", "image.bin", "--public-key", "other-public.pem")
    assert (code, out[:34]) == (1, "image.bin: not valid (SIGNATURE). ")
    code, out, _ = run("verify", "image.bin", "--lowest-version", "4")
    assert (code, out[:33]) == (1, "image.bin: not valid (ROLLBACK). ")
    succeeds(run("pack", "BUNDLE", "-o", "image.bin"))
    code, out, _ = run("verify", "image.bin", "--public-key", "public.pem")
    assert (code, out[:33]) == (1, "image.bin: not valid (UNSIGNED). ")


def test_a_damaged_image_is_not_valid_and_is_not_unpacked(run) -> None:
    succeeds(run("pack", "BUNDLE", "-o", "image.bin"))
    data = Path("image.bin").read_bytes()
    Path("image.bin").write_bytes(data[:-40] + bytes(40))
    code, out, err = run("verify", "image.bin")
    assert (code, err) == (1, "")
    assert out.startswith("image.bin: not valid (CHECKSUM). The CRC-32 of node 'angle'")
    assert "CRC-32" in fails(run("unpack", "image.bin", "-o", "unpacked"))
    assert not Path("unpacked").exists()


def test_the_same_bundle_gives_the_same_file(run) -> None:
    for name in ("one.bin", "two.bin"):
        succeeds(run("pack", "BUNDLE", "-o", name))
    assert Path("one.bin").read_bytes() == Path("two.bin").read_bytes()


WRONG = {
    "no output": (("pack", "BUNDLE"), "Add `-o image.bin`"),
    "one file twice": (
        ("pack", "BUNDLE", "-o", "a.c", "--c-array", "./a.c"),
        "must be two files",
    ),
    "tasks and a branch": (
        ("pack", "BUNDLE", "-o", "a", "--tasks", "digit", "--delta-for", "digit"),
        "cannot be combined",
    ),
    "an unknown task": (("pack", "BUNDLE", "-o", "a", "--tasks", "digt"), "Did you mean 'digit'?"),
    "no task": (("pack", "BUNDLE", "-o", "a", "--tasks", ","), "received none"),
    "an unknown branch": (
        ("pack", "BUNDLE", "-o", "a", "--delta-for", "trunk"),
        "The tasks are: digit, angle.",
    ),
    "a version below 0": (("pack", "BUNDLE", "-o", "a", "--version", "-1"), "received -1"),
    "no bundle": (("pack", "nothing", "-o", "a"), "there is no folder 'nothing'"),
    "no key": (("pack", "BUNDLE", "-o", "a", "--sign", "none.pem"), "none.pem"),
    "a folder that is none": (("pack", "BUNDLE", "-o", "no/such/a"), "Choose another path"),
    "no image": (("verify", "none.bin"), "none.bin"),
    "a base that is none": (
        ("verify", "text", "--base", "text"),
        "`--base` must be a full image, 'text' is none",
    ),
    "the same trunk as what": (("verify", "text", "--same-trunk"), "Add `--base IMAGE`"),
    "a floor below 0": (("verify", "text", "--lowest-version", "-1"), "received -1"),
    "a key that is none": (("verify", "text.bin", "--public-key", "text"), "Ed25519 public key"),
    "not an image": (("unpack", "text", "-o", "there"), "At least 144 bytes"),
    "a folder in use": (
        ("unpack", "text.bin", "-o", "."),
        "`--output` must be a new or empty folder",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_is_told_in_a_line(run, name: str) -> None:
    Path("text").write_text("nothing of the kind")
    succeeds(run("pack", "BUNDLE", "-o", "text.bin"))
    words, message = WRONG[name]
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    assert message in fails(run(*words))
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before


def test_every_command_of_the_guide_runs(run, tmp_path, bundle_folder) -> None:
    guide = Path(__file__).resolve().parents[2] / "docs" / "image.md"
    blocks = re.findall(r"^```sh\n(.*?)^```", guide.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    commands = [line.split() for block in blocks for line in block.splitlines()]
    (tmp_path / "demo-output").mkdir()
    (tmp_path / "demo-output" / "bundle").symlink_to(bundle_folder)
    assert len(commands) == 10
    for program, *words in commands:
        if program == "keras-tree":
            succeeds(run(*words))
        elif program == "openssl":
            subprocess.run([program, *words], check=True, capture_output=True, timeout=60)
        else:
            assert [program, *words] == ["pip", "install", "'keras-tree[sign]'"]
    array = "keras-tree pack demo-output/bundle --c-array kt_image.c"
    assert array in guide.read_text("utf-8")
    assert "array kt_image, length kt_image_bytes" in succeeds(run(*array.split()[1:]))


@pytest.mark.parametrize("command", ["pack", "unpack", "verify"])
def test_the_help_has_examples(command: str, capsys) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert f"  keras-tree {command} " in out
    assert max(map(len, out.splitlines())) <= 100
