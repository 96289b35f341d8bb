"""Partial updates on a simulated flash: the power cut after every byte, images of every kind."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.packed_image import encode
from deploy.packed_image.error import STATUSES
from deploy.packed_image.layout import SLOT_RECORD

HERE = Path(__file__).parent


def loaded(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = loaded(HERE / "image_fixtures.py")
SLOT_BYTES = 2048


@pytest.fixture(scope="module")
def cutter(tmp_path_factory) -> Path:
    """The driver that cuts the power after every byte."""
    return made.build(tmp_path_factory.mktemp("cuts"), ["update_cuts"], made.UPDATE)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory) -> Path:
    """The driver that does what its arguments say."""
    folder = tmp_path_factory.mktemp("device")
    return made.build(folder, ["update_device"], made.UPDATE, "-lsodium")


@pytest.fixture(scope="module")
def keys():
    """Two pairs of Ed25519 keys: of the maker, and of somebody else."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return [Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32)) for seed in (1, 2)]


@pytest.fixture
def device(simulator, tmp_path, keys):
    """Run verbs on a new device that has the full image; returns what it says after that."""
    for index, key in enumerate(keys):
        (tmp_path / f"key{index}.bin").write_bytes(key.public_key().public_bytes_raw())

    def run(*verbs: object, base: bytes = made.FULL) -> list[str]:
        arguments = []
        for number, verb in enumerate(("base", base, *verbs)):
            if isinstance(verb, bytes):
                path = tmp_path / f"image{number}.bin"
                path.write_bytes(verb)
                verb = path
            arguments.append(verb)
        told, *lines = made.output_of(simulator, *arguments, cwd=tmp_path).splitlines()
        assert told == "0"
        return [" ".join(map(named, line.split())) for line in lines]

    return run


def named(word: str) -> str:
    return STATUSES[-int(word)] if word == "0" or word.startswith("-") else word


def branch(version: int, **settings) -> bytes:
    return encode(made.small_branch(version, **settings))


OLD, NEW, NEWEST = branch(8), branch(9, length_bytes=70, seed=4), branch(10, length_bytes=10)

# (sector, unit, erased value, what a cut leaves): small and large units, flash that erases to 0.
FLASHES = [
    (512, 1, 255, 0),
    (512, 4, 255, 1),
    (512, 8, 255, 2),
    (512, 8, 0, 1),
    (1024, 16, 255, 2),
    (1024, 32, 255, 1),
    (512, 64, 0, 2),
    (512, 256, 255, 1),
]


@pytest.mark.parametrize("flash", FLASHES, ids=str)
def test_no_power_cut_leaves_a_device_without_a_valid_branch(cutter, flash, tmp_path) -> None:
    images = made.write(tmp_path, full=made.FULL, old=OLD, new=NEW, newest=NEWEST)
    printed = made.output_of(cutter, *flash, *images).replace(",", "").split()
    cuts, old, new = int(printed[0]), int(printed[3]), int(printed[5])
    # Each of three updates erases at least two sectors and programs the image and the record.
    assert cuts >= 3 * (2 * flash[0] + len(NEW) + 32)
    assert new >= 3
    assert old + new == cuts


def test_an_update_switches_and_leaves_the_older_branch_to_fall_back_on(device) -> None:
    assert device("active", "send", OLD, "active", "send", NEW, "active") == [
        "NO_BRANCH", "OK", "version 8", "OK", "version 9",
    ]  # fmt: skip
    # The newer branch rots: the older counts again, and the next update overwrites the rotten one.
    rot = ("send", OLD, "send", NEW, "rot", 1, 900, "active", "send", NEWEST, "active")
    assert device(*rot) == ["OK", "OK", "version 8", "OK", "version 10"]
    both = ("send", OLD, "send", NEW, "rot", 1, 900, "rot", 0, 900, "active", "send", NEW, "active")
    assert device(*both) == ["OK", "OK", "NO_BRANCH", "OK", "version 9"]


def test_a_record_that_rots_does_not_count(device) -> None:
    for offset in range(SLOT_BYTES - 32, SLOT_BYTES):
        verbs = ("send", OLD, "send", NEW, "rot", 1, offset, "active")
        assert device(*verbs) == ["OK", "OK", "version 8"], offset


def test_a_record_belongs_to_one_image(device) -> None:
    """A record whose image was exchanged behind its back does not count."""
    fields = SLOT_RECORD.fields
    assert [field.name for field in fields][-3:] == ["tables_crc32", "reserved", "crc32"]
    assert device("send", OLD, "rot", 0, 24, "active") == ["OK", "NO_BRANCH"]


def other_seam() -> bytes:
    one = made.small_branch(9)
    moved = made.tensor("neck_output", (1, 16), 0.5, 0)
    return encode(replace(one, tensors=(*one.tensors[:2], moved, one.tensors[3])))


def other_task() -> bytes:
    one = made.small_branch(9)
    return encode(replace(one, tasks=(replace(one.tasks[0], name="angle"),)))


REFUSED = {
    "a full image": ("KIND", encode(replace(made.small_image(9)))),
    "another task's branch": ("KIND", other_task()),
    "another seam": ("SEAM", other_seam()),
    "a damaged node": ("CHECKSUM", NEW[:-20] + b"\xaa" + NEW[-19:]),
    "a damaged table": ("CHECKSUM", NEW[:100] + b"\xaa" + NEW[101:]),
    "a longer file": ("KIND", NEW + bytes(16)),
    "a shorter file": ("TRUNCATED", NEW[:-16]),
    "nothing like it": ("MAGIC", bytes(500)),
    "more than a slot": ("SPACE", NEW + bytes(SLOT_BYTES)),
    "a byte more than fits": ("SPACE", bytes(SLOT_BYTES - 31)),
    "all that fits": ("MAGIC", bytes(SLOT_BYTES - 32)),
    "nothing": ("SPACE", b""),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_belong_here_is_refused_and_the_old_branch_stays(device, what) -> None:
    status, image = REFUSED[what]
    verbs = ("send", OLD, "send", image, "active", "send", NEW, "active")
    assert device(*verbs) == ["OK", status, "version 8", "OK", "version 9"]


def test_the_firmware_may_refuse_after_a_trial(device) -> None:
    verbs = ("send", OLD, "trial", 1, "send", NEW, "active", "trial", 0, "send", NEW, "active")
    assert device(*verbs) == ["OK", "REFUSED", "version 8", "OK", "version 9"]


def test_more_or_less_than_was_announced_is_refused(device) -> None:
    assert device("send", OLD, "longer", NEW, "active") == ["OK", "SPACE", "version 8"]
    assert device("send", OLD, "early", NEW, "active") == ["OK", "TRUNCATED", "version 8"]


def test_a_flash_that_fails_once_costs_the_update_only(device) -> None:
    """One call of the flash in turn fails, from the first of the update on."""
    told = set()
    for call in [*range(1, 8), *range(128, 137)]:
        lines = device("send", OLD, "fail", call, "send", NEW, "active", "send", NEWEST, "active")
        told.add(tuple(lines[1:3]))
        assert lines[3:] == ["OK", "version 10"], call
    # Also a record that stands and could not be read back, or could not be read at the start.
    assert told == {
        ("FLASH", "version 8"), ("FLASH", "version 9"), ("OK", "version 8"), ("OK", "version 9"),
    }  # fmt: skip


def test_a_record_that_cannot_be_read_is_not_erased_where_it_is_the_only_one(device) -> None:
    for call in range(1, 8):
        assert device("send", OLD, "fail", call, "early", NEW, "active")[-1] == "version 8"


def test_a_wrong_configuration_is_refused(device) -> None:
    assert set(device("config")) == {"ARGUMENT ARGUMENT"}


def test_a_new_full_image_with_another_seam_does_not_run_an_old_branch(device, tmp_path) -> None:
    one = made.small_image(9)
    moved = made.tensor("neck_output", (1, 16), 0.5, 0)
    other = encode(replace(one, tensors=(*one.tensors[:2], moved, *one.tensors[3:])))
    assert device("send", OLD, "base", other, "active", "base", made.FULL, "active") == [
        "OK", "OK", "NO_BRANCH", "OK", "version 8",
    ]  # fmt: skip


def test_the_same_trunk_may_be_asked_for(device) -> None:
    one = made.small_image()
    other = replace(one, nodes=(made.node("trunk", 60, (0, 1), 77), *one.nodes[1:]))
    assert device("send", OLD, "active", base=encode(other)) == ["OK", "version 8"]
    assert device("same", "send", OLD, "active", base=encode(other)) == ["BASE", "NO_BRANCH"]
    assert device("same", "send", OLD, "active") == ["OK", "version 8"]


def test_operators_that_the_firmware_lacks_are_refused(device) -> None:
    enough = ("operators", 256, "send", OLD, "active")
    assert device(*enough) == ["OK", "version 8"]
    assert device("operators", 4, "send", OLD, "active") == ["OPERATOR", "NO_BRANCH"]


# Signatures.


def signed(image, key) -> bytes:
    return encode(image, key.sign)


def test_a_signature_is_required_where_the_user_asks_for_it(device, keys) -> None:
    mine, foreign = keys
    old, new = (signed(made.small_branch(version), mine) for version in (8, 9))
    verbs = ("key", "key0.bin", "send", old, "send", NEWEST, "active")
    assert device(*verbs) == ["OK", "UNSIGNED", "version 8"]
    stranger = signed(made.small_branch(10), foreign)
    assert device("key", "key0.bin", "send", old, "send", stranger, "active", "send", new) == [
        "OK", "SIGNATURE", "version 8", "OK",
    ]  # fmt: skip
    full = signed(made.small_image(), mine)
    assert device("key", "key0.bin", "open", full, "open", made.FULL) == ["OK", "UNSIGNED"]
    assert device("key", "key1.bin", "open", full, "nokey", "open", full) == ["SIGNATURE", "OK"]


def test_signatures_may_be_verified_only_where_they_are(device, keys) -> None:
    full, foreign = (signed(made.small_image(), key) for key in keys)
    verbs = ("verify", "key0.bin", "open", full, "open", foreign, "open", made.FULL)
    assert device(*verbs) == ["OK", "SIGNATURE", "OK"]


def test_a_signature_covers_every_bit(device, keys) -> None:
    """A bit of each byte changed, every checksum right again: the tables by the signature itself,
    the nodes through their digests, which stand in the tables."""
    image = signed(made.small_image(), keys[0])
    tables = made.tables_length(image)
    verbs = []
    for place in range(8, tables, 13):
        verbs += ["open", made.resealed(flipped(image, place))]
    for place in range(tables, tables + 64, 7):
        verbs += ["open", made.resealed(flipped(image, place))]
    changed = made.small_image()
    forged = replace(changed.nodes[2], data=changed.nodes[2].data[:-1] + b"!")
    nodes = (*changed.nodes[:2], forged, *changed.nodes[3:])
    verbs += ["open", signed(replace(changed, nodes=nodes), keys[0])]
    told = device("key", "key0.bin", *verbs)
    assert set(told) <= {"SIGNATURE", "LAYOUT", "FORMAT_VERSION", "TRUNCATED", "UNSIGNED"}
    assert told.count("SIGNATURE") > 0.7 * len(told)
    assert told[-1] == "SIGNATURE"  # the CRC-32 fits the forged node, the digest does not


def flipped(image: bytes, place: int) -> bytes:
    return image[:place] + bytes([image[place] ^ 1]) + image[place + 1 :]


def test_an_older_image_is_refused_where_signatures_are_required(device, keys) -> None:
    five, six, seven = (signed(made.small_branch(version), keys[0]) for version in (5, 6, 7))
    key = ("key", "key0.bin")
    assert device(*key, "send", six, "send", five, "active", "send", seven, "send", six) == [
        "OK", "ROLLBACK", "version 6", "OK", "ROLLBACK",
    ]  # fmt: skip
    assert device(*key, "send", six, "send", six, "active") == ["OK", "OK", "version 6"]
    # Without signatures a user may go back.
    assert device("send", six, "send", five, "active") == ["OK", "OK", "version 5"]
    # The floor survives the slot that it came with, and stands even if the newest branch rots.
    rotten = (*key, "send", six, "send", seven, "rot", 1, 900, "active", "send", six, "send", seven)
    assert device(*rotten) == ["OK", "OK", "version 6", "ROLLBACK", "OK"]


def test_a_floor_of_the_firmware_holds_for_every_image(device, keys) -> None:
    assert device("floor", 8, "open", made.FULL, "send", branch(7)) == ["ROLLBACK", "ROLLBACK"]
    assert device("floor", 7, "open", made.FULL, "send", branch(7)) == ["OK", "OK"]
