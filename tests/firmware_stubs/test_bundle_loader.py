"""The C loader of packed images: against Python field by field, and against any damage."""

import ctypes
import hashlib
import importlib.util
import random
import re
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.packed_image import ImageError, check_base, encode, read_image
from deploy.packed_image.error import STATUSES
from deploy.packed_image.layout import TASK, TENSOR

HERE = Path(__file__).parent


def loaded(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = loaded(HERE / "image_fixtures.py")
FULL, BRANCH, STUBS = made.FULL, made.BRANCH, made.STUBS


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Path:
    """The driver `read_image`, with sanitizers."""
    return made.build(tmp_path_factory.mktemp("reader"), ["read_image"], made.LOADER)


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """The full image, and a branch image for it."""
    return made.write(tmp_path, full=FULL, branch=BRANCH)


def statuses(reader: Path, images: list[bytes], *base: Path) -> list[str]:
    stream = b"".join(struct.pack("<I", len(image)) + image for image in images)
    lines = made.output_of(reader, "many", *base, data=stream).split()
    assert len(lines) == len(images)
    return [STATUSES[-int(line)] for line in lines]


def status_in_python(image: bytes, base: bytes | None = None) -> str:
    try:
        found = read_image(image)
        if found.is_branch:
            if base is None:
                return "BASE"
            check_base(found, read_image(base))
    except ImageError as error:
        return error.status
    return "OK"


# Python and C agree.


def as_printed(image, base=None) -> list[str]:
    """What the driver prints for an image that Python read."""

    def resolved(node):
        if node.data is not None:
            return image, node
        return base, next(one for one in base.nodes if one.name == node.name)

    def shown(node) -> list[str]:
        whole, node = resolved(node)
        lines = [f"node {node.name} {len(node.data)}"]
        lines.append(f"data {hashlib.sha256(node.data).hexdigest()}")
        lines.append(f"operators {node.operators.hex()}")
        for side in ("input", "output"):
            one = whole.tensors[getattr(node, side)]
            shape = "".join(f"{size}," for size in one.shape)
            count = 1
            for size in one.shape:
                count *= size
            scale = f"{one.scale:.9g}"
            lines.append(f"{side} {one.name}|{shape}|{count}|{scale}|{one.zero_point}")
            lines.append(f"contract {one.contract_sha256.hex()}")
        return lines

    lines = ["status 0 no error", f"image {image.name} {image.version} {int(image.is_branch)}"]
    for name, number in zip(("scale", "offset"), image.normalization, strict=True):
        lines.append(f"{name} {struct.pack('<d', number).hex()}")
    for node in image.nodes:
        lines += shown(node)
    for index, task in enumerate(image.tasks):
        lines.append(f"task {task.name} {index}")
        lines += [f"label {label}" for label in task.labels]
        for node in image.path_nodes(task):
            lines += shown(node)
    return lines


def test_python_and_c_read_the_same_fields(reader, files) -> None:
    full, branch = read_image(FULL), read_image(BRANCH)
    assert full == made.small_image()
    assert made.output_of(reader, "fields", files[0]).splitlines() == as_printed(full)
    printed = made.output_of(reader, "fields", files[1], files[0]).splitlines()
    assert printed == as_printed(branch, full)


@pytest.mark.parametrize("name", ["device"])
def test_python_and_c_read_the_same_fields_of_a_real_bundle(reader, name, tmp_path) -> None:
    tools = loaded(HERE.parent / "quantize" / "conftest.py")
    from deploy.packed_image import pack_branch, pack_bundle

    writer = tools.FlatbufferWriter()
    image = writer.tensor((1, 4, 4, 2), "INT8", 0.1, 3)
    trunk = writer.bytes([image], [tools.convolution(writer, image, (1, 4, 4, 2), 4, 0.05, 1)])
    heads = {}
    for seed, task in enumerate(("first", "second")):
        writer = tools.FlatbufferWriter()
        features = writer.tensor((1, 4, 4, 4), "INT8", 0.05, -128)
        output = tools.convolution(writer, features, (1, 4, 4, 4), 2 + seed, 0.2, seed)
        heads[task] = writer.bytes([features], [output])
    paths = {task: ("trunk", task) for task in heads}
    bundle = tools.bundle_of({"trunk": trunk, **heads}, paths)
    full = pack_bundle(bundle, version=1)
    branch = pack_branch(bundle, "second", version=2)
    paths = made.write(tmp_path, full=encode(full), branch=encode(branch))
    assert made.output_of(reader, "fields", paths[0]).splitlines() == as_printed(full)
    printed = made.output_of(reader, "fields", paths[1], paths[0]).splitlines()
    assert printed == as_printed(branch, full)
    assert full.nodes[0].data == trunk


def test_messages_are_there_for_every_status(tmp_path: Path) -> None:
    program = tmp_path / "libkt.so"
    source = STUBS / "src" / "kt_status.c"
    command = ["gcc", "-shared", "-fPIC", f"-I{STUBS}/include", "-o", program, source]
    subprocess.run(command, check=True, timeout=60)
    message = ctypes.CDLL(str(program)).kt_status_message
    message.restype = ctypes.c_char_p
    texts = [message(-status).decode() for status in range(len(STATUSES))]
    assert len(set(texts)) == len(STATUSES)
    assert {message(status) for status in (1, -len(STATUSES), -(2**31))} == {b"unknown status"}
    header = (STUBS / "include" / "kt_status.h").read_text()
    stated = re.findall(r"KT_ERROR_(\w+) = -(\d+)", header)
    assert stated == [(name, str(number)) for number, name in enumerate(STATUSES) if number]


def test_sha256_is_sha256(reader) -> None:
    for length in (0, 1, 3, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 1_000, 100_000):
        data = random.Random(length).randbytes(length)
        expected = f"sha256 {hashlib.sha256(data).hexdigest()}\n"
        assert made.output_of(reader, "sha256", data=data) == expected


# Damage.


def test_every_flipped_bit_is_found(reader, files) -> None:
    """No byte is without a check: not one of 10,000 single-bit flips is accepted."""
    assert made.output_of(reader, "flips", files[0]) == ""
    assert made.output_of(reader, "flips", files[1], files[0]) == ""


def test_every_flipped_bit_of_a_signed_image_is_found_without_the_key(reader, tmp_path) -> None:
    image = encode(made.small_image(), sign=lambda tables: bytes(range(64)))
    (path,) = made.write(tmp_path, signed=image)
    assert made.output_of(reader, "flips", path) == ""


def test_every_truncation_is_found(reader, files) -> None:
    assert made.output_of(reader, "cuts", files[0]).split() == [str(len(FULL))]
    assert made.output_of(reader, "cuts", *reversed(files)).split() == [str(len(BRANCH))]


def test_what_follows_in_a_partition_is_passed_over(reader) -> None:
    assert statuses(reader, [FULL + b"\xff" * 100, FULL + b"\0"]) == ["OK", "OK"]


def test_an_address_must_be_aligned(reader, files) -> None:
    assert made.output_of(reader, "shifts", files[0]).split() == ["0", "16"]


def test_flips_behind_the_checksums_are_found_or_change_nothing_but_a_value(reader, files) -> None:
    """Bits of the tables, the CRC-32 made right again: Python and C say the same of each."""
    images = []
    for image, step in ((FULL, 1), (BRANCH, 3)):
        for bit in range(0, 8 * made.tables_length(image), step):
            damaged = bytearray(image)
            damaged[bit // 8] ^= 1 << bit % 8
            images.append(made.resealed(bytes(damaged)))
    in_c = statuses(reader, images, files[0])
    in_python = [status_in_python(image, FULL) for image in images]
    assert in_c == in_python
    accepted = [image for image, status in zip(images, in_c, strict=True) if status == "OK"]
    for image in accepted[::5]:
        # What passes is a value, not a structure: it is written and read again as it is.
        found = read_image(image)
        assert repr(read_image(encode(found))) == repr(found)
    assert 0.2 < len(accepted) / len(images) < 0.7  # digests, names, labels, versions, scales


def random_damage(seed: int) -> bytes:
    """An image with one to three fields of its tables set to values at which checks go wrong."""
    choice = random.Random(seed)
    image = bytearray(choice.choice([FULL, BRANCH]))
    edges = [
        0,
        1,
        2,
        3,
        15,
        16,
        17,
        127,
        128,
        255,
        0xFFFF,
        2**31 - 16,
        2**31,
        2**32 - 16,
        2**32 - 1,
    ]
    for _ in range(choice.randint(1, 3)):
        width = choice.choice([1, 2, 4])
        place = choice.randrange(
            0, made.tables_length(FULL if len(image) > 1000 else BRANCH), width
        )
        value = choice.choice(edges) if choice.random() < 0.7 else choice.getrandbits(32)
        image[place : place + width] = (value & (256**width - 1)).to_bytes(width, "little")
    return made.resealed(bytes(image))


def test_python_and_c_agree_on_random_damage(reader, files) -> None:
    images = [random_damage(seed) for seed in range(4_000)]
    in_c = statuses(reader, images, files[0])
    assert in_c == [status_in_python(image, FULL) for image in images]
    assert set(in_c) >= {
        "OK", "MAGIC", "FORMAT_VERSION", "LAYOUT", "INDEX", "STRING", "TENSOR", "SEAM", "BASE"
    }  # fmt: skip


def changed(image: bytes, record, index: int, table: int, **values: int) -> bytes:
    """An image with fields of one record changed, resealed."""
    data = bytearray(image)
    for field in record.fields:
        if field.name in values:
            place = table + index * record.length_bytes + field.offset
            struct.pack_into(f"<{field.code}", data, place, values[field.name])
    return made.resealed(bytes(data))


def wrong_images() -> dict[str, tuple[str, bytes]]:
    """(status, image) of one wrong thing each, the checksums right."""
    image = made.small_image()
    tensors = 64 + 88 * 5
    tasks = tensors + 72 * 5
    seam = (replace(image.nodes[1], input=0), *image.nodes[2:])
    moved = changed(FULL, made.NODE, 1, 64, data_offset=made.node_record(FULL, 0)["data_offset"])
    no_task = replace(image, tasks=())
    branch = made.small_branch()
    back = replace(branch.tasks[0], path=(0, 2, 1, 3))
    return {
        "neighbours of different tensors": (
            "SEAM",
            encode(replace(image, nodes=(image.nodes[0], *seam))),
        ),
        "nodes that overlap": ("LAYOUT", moved),
        "a gap between nodes": (
            "LAYOUT",
            FULL[:16] + struct.pack("<I", len(FULL) + 16) + FULL[20:] + bytes(16),
        ),
        "no task": ("LAYOUT", encode(no_task)),
        "a shape of 2^31 elements": (
            "TENSOR",
            changed(FULL, TENSOR, 0, tensors, axis_count=4)[: tensors + 52]
            + struct.pack("<3I", 65536, 32768, 1)
            + FULL[tensors + 64 :],
        ),
        "a normalization of NaN": (
            "LAYOUT",
            encode(replace(image, normalization=(float("nan"), 0.0))),
        ),
        "an infinite normalization": (
            "LAYOUT",
            encode(replace(image, normalization=(1.0, float("-inf")))),
        ),
        "a scale of NaN": ("TENSOR", changed(FULL, TENSOR, 1, tensors, scale=0x7FC00000)),
        "a scale of infinity": ("TENSOR", changed(FULL, TENSOR, 1, tensors, scale=0x7F800000)),
        "a scale of 0": ("TENSOR", changed(FULL, TENSOR, 1, tensors, scale=0)),
        "a negative scale": ("TENSOR", changed(FULL, TENSOR, 1, tensors, scale=0xBF800000)),
        "zero point 128": ("TENSOR", changed(FULL, TENSOR, 1, tensors, zero_point=128)),
        "zero point -129": ("TENSOR", changed(FULL, TENSOR, 1, tensors, zero_point=-129)),
        "a path beyond the table": ("INDEX", changed(FULL, TASK, 2, tasks, path_count=3)),
        "an entry of no task": ("INDEX", changed(FULL, TASK, 2, tasks, label_count=2)),
        "two tasks with one path": ("INDEX", changed(FULL, TASK, 1, tasks, path_first=0)),
        "an external node of a full image": ("LAYOUT", changed(FULL, made.NODE, 0, 64, flags=1)),
        "a branch that begins in itself": (
            "LAYOUT",
            encode(replace(branch, tasks=(replace(branch.tasks[0], path=(2, 3)),))),
        ),
        "a branch that returns to the trunk": (
            "LAYOUT",
            encode(
                replace(
                    branch,
                    nodes=tuple(replace(node, input=0, output=0) for node in branch.nodes),
                    tasks=(back,),
                )
            ),
        ),
        "a branch without a node of its own": (
            "LAYOUT",
            encode(replace(branch, tasks=(replace(branch.tasks[0], path=(0, 1)),))),
        ),
        "an unsigned image with a signature": (
            "LAYOUT",
            made.resealed(
                FULL[: made.tables_length(FULL)] + b"\1" + FULL[made.tables_length(FULL) + 1 :]
            ),
        ),
    }


WRONG = wrong_images()


@pytest.mark.parametrize("name", WRONG)
def test_one_wrong_thing_is_refused_with_its_status(reader, files, name: str) -> None:
    status, image = WRONG[name]
    image = made.resealed(image)
    assert statuses(reader, [image], files[0]) == [status]
    assert status_in_python(image, FULL) == status


# A branch and its full image.


def test_a_branch_needs_the_contract_of_its_seam(reader, tmp_path) -> None:
    image, branch = made.small_image(), made.small_branch()

    def with_seam(**values):
        one = image.tensors[2]
        bare = replace(one, **values)
        other = made.tensor(bare.name, bare.shape, bare.scale, bare.zero_point)
        return replace(image, tensors=(*image.tensors[:2], other, *image.tensors[3:]))

    renamed = replace(image, nodes=(replace(image.nodes[0], name="stem"), *image.nodes[1:]))
    retrained = replace(image, nodes=(made.node("trunk", 60, (0, 1), 77), *image.nodes[1:]))
    cases = {
        "OK": (image, retrained, with_seam(name="another name")),
        "SEAM": (with_seam(scale=0.5), with_seam(zero_point=1), with_seam(shape=(16,))),
        "BASE": (renamed, branch),
    }
    for status, bases in cases.items():
        for base in bases:
            (path,) = made.write(tmp_path, base=encode(base))
            if not base.is_branch:
                assert statuses(reader, [BRANCH], path) == [status]
            assert status_in_python(BRANCH, encode(base)) == status
    assert statuses(reader, [BRANCH]) == ["BASE"]
    check_base(branch, image, same_trunk=True)
    with pytest.raises(ImageError, match="same to the last byte"):
        check_base(branch, retrained, same_trunk=True)


# Fuzzing.


def test_seeded_fuzzing_finds_nothing(tmp_path: Path) -> None:
    """The corpus that libFuzzer left, and mutations of it; the same cases in every run."""
    program = made.build(
        tmp_path, ["fuzz_bundle", "fuzz_main"], [n for n in made.LOADER if n != "kt_status"]
    )
    corpus = sorted((STUBS / "tests" / "corpus").glob("*"))
    (base,) = made.write(tmp_path, base=FULL)
    assert len(corpus) > 20
    printed = made.output_of(program, 30_000, *corpus, env={"KT_FUZZ_BASE": str(base)})
    assert printed.startswith(f"{len(corpus)} files and 30000 mutations")
