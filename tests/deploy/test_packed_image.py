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
from deploy.packed_image.signing import KeyFileError, check_signature, private_key, public_key
from deploy.packed_image.unpacking import unpack_image
from deploy.packed_image.verifying import verify_image
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


# Signatures. RFC 8032, section 7.1, tests 1 to 3: secret key, public key, message, signature.

RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_keys_are_those_of_rfc_8032(tmp_path, secret, public, message, signature) -> None:
    paths = (tmp_path / "secret.bin", tmp_path / "public.bin")
    for path, key in zip(paths, (secret, public), strict=True):
        path.write_bytes(bytes.fromhex(key))
    key = private_key(paths[0])
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert key.public_key() == public_key(paths[1])
    # The library that stands for the device's verifies the same.
    sodium = ctypes.CDLL("libsodium.so.23")
    arguments = (bytes.fromhex(signature), bytes.fromhex(message), len(message) // 2)
    verify = sodium.crypto_sign_verify_detached
    verify.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulonglong, ctypes.c_char_p]
    assert verify(*arguments, bytes.fromhex(public)) == 0
    assert verify(*arguments, bytes.fromhex(RFC_8032[0][1])[::-1]) != 0


def key_files(folder):
    """PEM files as openssl writes them."""
    secret, public = folder / "key.pem", folder / "public.pem"
    for command in (
        ["genpkey", "-algorithm", "ed25519", "-out", secret],
        ["pkey", "-in", secret, "-pubout", "-out", public],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True, timeout=60)
    return secret, public


def test_a_signed_image_is_verified_by_its_key_only(full, tmp_path) -> None:
    secret, public = key_files(tmp_path)
    data = encode(full, private_key(secret).sign)
    assert read_image(data).signature is not None
    check_signature(data, public_key(public))
    (tmp_path / "other.bin").write_bytes(bytes(range(32)))
    foreign = private_key(tmp_path / "other.bin").public_key()
    with pytest.raises(ImageError, match="not by this key"):
        check_signature(data, foreign)
    with pytest.raises(ImageError, match="has no signature"):
        check_signature(encode(full), public_key(public))
    assert verify_image(data, public).signature == read_image(data).signature


def test_a_forged_node_is_found_by_its_digest(full, tmp_path) -> None:
    secret, public = key_files(tmp_path)
    forged = replace(full.nodes[1], data=full.nodes[1].data[:-1] + b"!")
    data = encode(
        replace(full, nodes=(full.nodes[0], forged, full.nodes[2])), private_key(secret).sign
    )
    read_image(data)  # the checksum is right
    for key in (public, None):
        with pytest.raises(ImageError, match="SHA-256"):
            verify_image(data, key)


def test_a_forged_contract_is_found(full) -> None:
    forged = replace(full.tensors[1], contract_sha256=bytes(32))
    data = encode(replace(full, tensors=(full.tensors[0], forged, *full.tensors[2:])))
    with pytest.raises(ImageError, match="digest of the contract"):
        verify_image(data)


def test_versions_and_bases_are_verified(device_bundle, full) -> None:
    branch = encode(pack_branch(device_bundle, "angle", version=2))
    assert verify_image(branch, base=full, lowest_version=2).version == 2
    with pytest.raises(ImageError, match="Version 3 or higher"):
        verify_image(branch, lowest_version=3)
    with pytest.raises(ImageError, match="needs none"):
        verify_image(encode(full), base=full)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN NOTHING-----", bytes(33), b"\xff" * 64])
def test_a_file_that_holds_no_key_is_refused(tmp_path, content) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(KeyFileError, match="must hold an Ed25519 private key"):
        private_key(path)
    with pytest.raises(KeyFileError, match="must hold an Ed25519 public key"):
        public_key(path)


def test_keys_of_another_kind_or_with_a_password_are_refused(tmp_path) -> None:
    rsa, secret = tmp_path / "rsa.pem", tmp_path / "secret.pem"
    for path, *options in (
        (rsa, "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        (secret, "-algorithm", "ed25519", "-aes256", "-pass", "pass:word"),
    ):
        command = ["openssl", "genpkey", *options, "-out", path]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    with pytest.raises(KeyFileError, match="must hold an Ed25519 private key"):
        private_key(rsa)
    with pytest.raises(KeyFileError, match="encrypted with a password"):
        private_key(secret)


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cryptography", None)
    (tmp_path / "key").write_bytes(bytes(32))
    with pytest.raises(KeyFileError, match=r"pip install 'keras-tree\[sign\]'"):
        private_key(tmp_path / "key")


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
