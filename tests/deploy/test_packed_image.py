"""Packed images in Python: what of a bundle is packed, branches, signatures, C arrays, files."""

import ctypes
import hashlib
import json
import struct
import subprocess
from dataclasses import replace
from pathlib import PurePath

import numpy as np
import pytest

from deploy.packed_image import (
    ImageError,
    c_array,
    check_base,
    encode,
    pack_branch,
    pack_bundle,
    read_image,
)
from deploy.packed_image.c_array import array_name
from deploy.packed_image.describing import image_lines
from deploy.packed_image.layout import HEADER, MOST_ENTRIES
from deploy.packed_image.packing import operator_bits, operator_names
from deploy.packed_image.parts import PackedTask
from deploy.packed_image.unpacking import unpack_image
from quantize.bundle import BundleError
from quantize.wire.schema import BUILTIN_OPERATORS


@pytest.fixture
def full(device_bundle):
    """The full image of a trunk with two branches."""
    return pack_bundle(device_bundle, version=3)


# What is packed.


def test_an_image_holds_the_bundle(device_bundle, full) -> None:
    image = read_image(encode(full))
    assert image == full
    assert (image.name, image.version, image.is_branch) == ("device", 3, False)
    assert image.normalization == (1 / 255, 0.0)
    assert {node.name: node.data for node in image.nodes} == {
        name: node.data for name, node in device_bundle.nodes.items()
    }
    for task in image.tasks:
        stored = device_bundle.tasks[task.name]
        assert tuple(node.name for node in image.path_nodes(task)) == stored.path
        assert task.labels == stored.labels
    for packed in image.nodes:
        node = device_bundle.nodes[packed.name]
        assert packed.data_sha256.hex() == node.sha256
        assert operator_names(packed.operators) == tuple(
            sorted(node.operators, key=BUILTIN_OPERATORS.index)
        )
        for side in ("input", "output"):
            spec, tensor = getattr(node, side), image.tensors[getattr(packed, side)]
            assert (tensor.shape, tensor.scale, tensor.zero_point) == (
                spec.shape,
                spec.scale,
                spec.zero_point,
            )


def test_seams_have_the_contracts_of_the_bundle(device_bundle, full) -> None:
    found = {tensor.name: tensor for tensor in full.tensors if tensor.name}
    assert set(found) == {seam.name for seam in device_bundle.seams}
    for seam in device_bundle.seams:
        assert found[seam.name].contract == seam.contract
        assert found[seam.name].contract_sha256.hex() == seam.contract_sha256
    for tensor in full.tensors:
        digest = hashlib.sha256(tensor.contract.encode()).digest()
        assert tensor.contract_sha256 == digest


def test_the_same_bundle_gives_the_same_bytes(device_bundle, full) -> None:
    assert encode(full) == encode(pack_bundle(device_bundle, version=3))
    assert encode(read_image(encode(full))) == encode(full)


def test_nodes_are_aligned_and_cost_little(full) -> None:
    data = encode(full)
    header = HEADER.unpack(data)
    nodes = sum(len(node.data) for node in full.nodes)
    assert len(data) == header["image_bytes"]
    assert len(data) % 16 == 0
    assert nodes < len(data) < nodes + 1_200
    for node in full.nodes:
        assert data.index(node.data) % 16 == 0


def test_some_tasks_only(device_bundle) -> None:
    image = pack_bundle(device_bundle, ["angle"])
    assert [task.name for task in image.tasks] == ["angle"]
    assert [node.name for node in image.nodes] == ["trunk", "angle"]
    with pytest.raises(BundleError, match="no task 'angel'"):
        pack_bundle(device_bundle, ["angel"])


def test_operators_are_bits_of_the_schema() -> None:
    names = ("ADD", "CONV_2D", "SOFTMAX", "HARD_SWISH")
    bits = int.from_bytes(operator_bits(names), "little")
    assert bits == sum(1 << BUILTIN_OPERATORS.index(name) for name in names)
    assert operator_names(operator_bits(["my_operator"])) == ("CUSTOM",)
    assert operator_names(bytes(31) + b"\x80") == ("255",)


def test_what_an_image_cannot_hold_is_refused(device_bundle, full) -> None:
    with pytest.raises(ImageError, match=r"0\.\.4294967295, received -1"):
        pack_bundle(device_bundle, version=-1)
    with pytest.raises(ImageError, match="received 4294967296"):
        pack_bundle(device_bundle, version=2**32)
    with pytest.raises(ImageError, match="no zero character"):
        encode(replace(full, name="a\0b"))
    many = PackedTask("many", full.tasks[0].path, ("label",) * (MOST_ENTRIES + 1))
    with pytest.raises(ImageError, match="`label_count` must be at most"):
        encode(replace(full, tasks=(many,)))
    trunk = device_bundle.nodes["trunk"]
    deep = replace(trunk, input=replace(trunk.input, shape=(1,) * 7))
    with pytest.raises(ImageError, match="at most 6 axes"):
        pack_bundle(replace(device_bundle, nodes={**device_bundle.nodes, "trunk": deep}))


@pytest.mark.parametrize("name", ["größer", "", "emoji \U0001f333", "\x1b[31mred"])
def test_any_label_comes_back(full, name) -> None:
    tasks = tuple(replace(task, labels=(name, name)) for task in full.tasks)
    assert read_image(encode(replace(full, tasks=tasks))).tasks == tasks


def test_an_image_gives_a_terminal_no_orders(full) -> None:
    odd = replace(full, name="\x1b[2Jgone", tasks=(replace(full.tasks[0], name="a\nb"),))
    assert all(line.isprintable() for line in image_lines(odd, encode(odd)))
    damaged = bytearray(encode(replace(full, nodes=(*full.nodes[:2], _named(full, "\x1b[2J")))))
    damaged[-20] ^= 1
    with pytest.raises(ImageError) as caught:
        read_image(bytes(damaged))
    assert str(caught.value).isprintable()


def _named(full, name):
    return replace(full.nodes[2], name=name)


# A branch.


def test_a_branch_holds_what_is_behind_the_shared_nodes(device_bundle, full) -> None:
    branch = read_image(encode(pack_branch(device_bundle, "digit", version=9)))
    assert branch.is_branch
    assert [(node.name, node.data is None) for node in branch.nodes] == [
        ("trunk", True),
        ("digit", False),
    ]
    assert [task.name for task in branch.tasks] == ["digit"]
    assert branch.needed_seam == full.tensors[full.nodes[0].output]
    assert full.needed_seam is None
    check_base(branch, full, same_trunk=True)
    assert len(encode(branch)) < len(encode(full)) - len(device_bundle.nodes["trunk"].data)


def test_a_branch_of_the_only_task_begins_behind_the_trunk(device_bundle) -> None:
    branch = pack_branch(device_bundle.select("digit"), "digit")
    assert [node.data is None for node in branch.nodes] == [True, False]


def test_a_branch_carries_nodes_that_others_share_behind_it(device_bundle) -> None:
    """Paths may share nodes that are no prefix: what stands behind an own node is carried along."""
    bundle = replace(
        device_bundle,
        tasks={
            "digit": replace(device_bundle.tasks["digit"], path=("trunk", "angle", "digit")),
            "other": replace(device_bundle.tasks["angle"], name="other", path=("trunk", "digit")),
        },
    )
    branch = pack_branch(bundle, "digit")
    assert [(node.name, node.data is None) for node in branch.nodes] == [
        ("trunk", True),
        ("angle", False),
        ("digit", False),
    ]


def test_a_task_without_a_branch_of_its_own_is_refused(device_bundle) -> None:
    alone = replace(
        device_bundle,
        tasks={
            **device_bundle.tasks,
            "twin": replace(device_bundle.tasks["digit"], name="twin"),
        },
    )
    with pytest.raises(ImageError, match="all of which other tasks run too"):
        pack_branch(alone, "digit")
    with pytest.raises(BundleError, match="no task"):
        pack_branch(device_bundle, "digits")


def test_a_branch_fits_only_the_contract_of_its_seam(device_bundle, full) -> None:
    branch = pack_branch(device_bundle, "digit")
    index = full.nodes[0].output
    other = replace(full.tensors[index], scale=0.5)
    moved = replace(full, tensors=(*full.tensors[:index], other, *full.tensors[index + 1 :]))
    with pytest.raises(ImageError, match="must have the contract that the branch needs") as caught:
        check_base(branch, moved)
    assert caught.value.status == "SEAM"
    with pytest.raises(ImageError, match="builds on node 'trunk'"):
        check_base(branch, replace(full, nodes=full.nodes[1:], tasks=()))
    with pytest.raises(ImageError, match="must be a full image"):
        check_base(branch, branch)


# C arrays and files.


@pytest.mark.parametrize("compiler", [["gcc", "-std=c99"], ["gcc", "-std=c11"], ["g++", "-xc++"]])
def test_a_c_array_is_the_image_at_a_multiple_of_16(full, tmp_path, compiler) -> None:
    data = encode(full)
    source = tmp_path / "image.c"
    source.write_text(c_array(data, "kt_image", full.version))
    library = tmp_path / "image.so"
    flags = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-shared", "-fPIC", "-o", str(library)]
    subprocess.run([*compiler, *flags, str(source)], check=True, timeout=60)
    loaded = ctypes.CDLL(str(library))
    array = (ctypes.c_uint8 * len(data)).in_dll(loaded, "kt_image")
    assert bytes(array) == data
    assert ctypes.addressof(array) % 16 == 0
    assert ctypes.c_uint32.in_dll(loaded, "kt_image_bytes").value == len(data)


def test_arrays_have_names_of_c() -> None:
    names = {"image.c": "image", "my-image.v2.c": "my_image_v2", "3.c": "image_3", "ä.c": "image"}
    names |= {"int.c": "image_int", "class.c": "image_class", "new-image.c": "new_image"}
    assert {name: array_name(PurePath(name)) for name in names} == names


def test_an_image_is_unpacked_to_files(device_bundle, full, tmp_path) -> None:
    folder = unpack_image(read_image(encode(full) + b"\xff" * 50), tmp_path / "unpacked")
    for name, node in device_bundle.nodes.items():
        assert (folder / "nodes" / f"{name}.tflite").read_bytes() == node.data
    told = json.loads((folder / "image.json").read_text())
    assert (told["kind"], told["version"], told["signature"]) == ("full", 3, None)
    assert told["tasks"]["digit"]["path"] == ["trunk", "digit"]
    assert told["nodes"]["trunk"]["sha256"] == device_bundle.nodes["trunk"].sha256
    (seam,) = device_bundle.seams
    assert told["nodes"]["trunk"]["output"]["seam"] == seam.name
    assert told["nodes"]["digit"]["input"]["contract"] == seam.contract


def test_a_branch_is_unpacked_without_the_nodes_that_it_lacks(device_bundle, tmp_path) -> None:
    folder = unpack_image(pack_branch(device_bundle, "angle"), tmp_path / "unpacked")
    assert [path.name for path in (folder / "nodes").iterdir()] == ["angle.tflite"]
    assert json.loads((folder / "image.json").read_text())["nodes"]["trunk"]["file"] is None


@pytest.mark.parametrize(
    "name", ["../trunk", "/etc/passwd", "a/b", "..", "", "TRUNK", "a\0b"[:1] * 300]
)
def test_a_name_cannot_lead_out_of_the_folder(full, tmp_path, name) -> None:
    odd = replace(full, nodes=(*full.nodes[:2], _named(full, name)))
    with pytest.raises(ImageError):
        unpack_image(read_image(encode(odd)), tmp_path / "unpacked")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(full, tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ImageError, match="left as it is"):
        unpack_image(full, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_damage_is_told_with_what_to_do(full) -> None:
    data = encode(full)
    cases = {
        b"": "At least 144 bytes",
        bytes(200): "A packed image begins with",
        data[:8] + struct.pack("<H", 2) + data[10:]: "Format version 1 is expected, received 2",
        data[:-1]: "The image says that it has",
        data[:70] + b"!" + data[71:]: "CRC-32",
    }
    for damaged, message in cases.items():
        with pytest.raises(ImageError, match=message) as caught:
            read_image(damaged)
        assert str(caught.value).endswith("again.")
    ends = np.random.default_rng(1).integers(0, len(data), 200)
    for end in ends:
        with pytest.raises(ImageError):
            read_image(data[:end])
