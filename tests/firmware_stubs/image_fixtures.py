"""Small packed images that need no flatbuffers, and C drivers compiled for this machine."""

import hashlib
import shutil
import struct
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path

from deploy.packed_image import PackedImage, PackedNode, PackedTask, PackedTensor, encode
from deploy.packed_image.layout import HEADER, NODE, SEAL

STUBS = Path(__file__).resolve().parents[2] / "firmware_stubs"
LOADER = ("kt_status", "kt_crc32", "kt_sha256", "kt_bundle", "kt_bundle_read", "kt_image_check")
UPDATE = (*LOADER, "kt_update", "kt_slot")
C99 = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wshadow")
SANITIZED = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compilers() -> list[str]:
    """gcc, and clang where it is installed."""
    return [name for name in ("gcc", "clang", "clang-14") if shutil.which(name)]


def build(folder: Path, drivers: list[str], sources: tuple[str, ...], *flags: str) -> Path:
    """A driver of `firmware_stubs/tests` with sources of the loader, warnings as errors."""
    program = folder / drivers[0]
    files = [STUBS / "tests" / f"{name}.c" for name in drivers]
    files += [STUBS / "src" / f"{name}.c" for name in sources]
    command = ["gcc", *C99, *SANITIZED, f"-I{STUBS}/include", "-o", program, *files, *flags]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return program


def output_of(program: Path, *arguments: object, data: bytes = b"", **settings) -> str:
    """What a driver prints; a sanitizer's finding and any other code than 0 fail the test."""
    run = subprocess.run(
        [program, *map(str, arguments)], input=data, capture_output=True, timeout=300, **settings
    )
    assert run.returncode == 0, (run.returncode, run.stdout[-500:], run.stderr[-3000:])
    return run.stdout.decode("utf-8", "surrogateescape")


def tensor(name: str, shape: tuple[int, ...], scale: float, zero_point: int) -> PackedTensor:
    bare = PackedTensor(name, shape, scale, zero_point, b"")
    return replace(bare, contract_sha256=hashlib.sha256(bare.contract.encode()).digest())


TENSORS = (
    tensor("", (1, 8, 8, 1), 0.00390625, -128),
    tensor("trunk_output", (1, 4, 4, 8), 0.05000000074505806, 127),
    tensor("neck_output", (1, 16), 9.99994610111476e-41, 0),
    tensor("", (1, 3), 0.00390625, -128),
    tensor("", (1,), 3.4028234663852886e38, -1),
)


def node(name: str, length_bytes: int, ends: tuple[int, int], seed: int = 1) -> PackedNode:
    data = bytes((seed * 37 + 11 * i) % 251 for i in range(length_bytes))
    bits = (0b1000 | seed << 4).to_bytes(32, "little")
    return PackedNode(name, data, hashlib.sha256(data).digest(), *ends, bits)


def small_image(version: int = 7) -> PackedImage:
    """Two tasks share trunk and neck, a third leaves after the trunk."""
    return PackedImage(
        "small",
        version,
        False,
        (
            node("trunk", 50, (0, 1), 1),
            node("neck", 32, (1, 2), 2),
            node("digit", 17, (2, 3), 3),
            node("angle", 1, (2, 4), 4),
            node("odd", 16, (1, 3), 5),
        ),
        TENSORS,
        (
            PackedTask("digit", (0, 1, 2), ("null", "eins", "größer")),
            PackedTask("angle", (0, 1, 3), ()),
            PackedTask("odd", (0, 4), ("a", "b", "a")),
        ),
        (1 / 255, -0.5),
    )


def small_branch(version: int = 8, length_bytes: int = 40, seed: int = 9) -> PackedImage:
    """A branch for the task "digit" of the image above, in two nodes."""
    whole = small_image()
    return PackedImage(
        "small",
        version,
        True,
        (
            *(replace(shared, data=None) for shared in whole.nodes[:2]),
            node("digit", length_bytes, (2, 2), seed),
            node("last", 20, (2, 3), seed + 1),
        ),
        TENSORS[:4],
        (PackedTask("digit", (0, 1, 2, 3), ("zero", "one", "two")),),
        whole.normalization,
    )


def write(folder: Path, **images: bytes) -> list[Path]:
    """Files of images; their paths in the order given."""
    paths = []
    for name, data in images.items():
        paths.append(folder / f"{name}.bin")
        paths[-1].write_bytes(data)
    return paths


def resealed(image: bytes) -> bytes:
    """The image with the tables' CRC-32 computed anew, so that what stands behind it is reached."""
    (tables_bytes,) = struct.unpack_from("<I", image, 20)
    if not 64 <= tables_bytes <= len(image) - SEAL.length_bytes:
        return image
    crc = zlib.crc32(image[: tables_bytes + 64])
    return image[: tables_bytes + 64] + struct.pack("<I", crc) + image[tables_bytes + 68 :]


def tables_length(image: bytes) -> int:
    """Bytes of header and tables."""
    return HEADER.unpack(image)["tables_bytes"]


def node_count(image: bytes) -> int:
    """Nodes in an image."""
    return HEADER.unpack(image)["node_count"]


def node_record(image: bytes, index: int) -> dict:
    """A node's record."""
    return NODE.unpack(image, HEADER.length_bytes + NODE.length_bytes * index)


FULL = encode(small_image())
BRANCH = encode(small_branch())
