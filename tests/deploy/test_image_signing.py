"""Signatures of packed images: keys, RFC 8032's test vectors, forgeries."""

import ctypes
import subprocess
import sys
from dataclasses import replace

import pytest

from deploy.packed_image import ImageError, encode, pack_branch, pack_bundle, read_image
from deploy.packed_image.signing import KeyFileError, check_signature, private_key, public_key
from deploy.packed_image.verifying import verify_image


@pytest.fixture
def full(device_bundle):
    """The full image of a trunk with two branches."""
    return pack_bundle(device_bundle, version=3)


# RFC 8032, section 7.1, tests 1 to 3: secret key, public key, message, signature.

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
    monkeypatch.setitem(sys.modules, "cryptography", None)
    (tmp_path / "key").write_bytes(bytes(32))
    with pytest.raises(KeyFileError, match=r"pip install 'keras-tree\[sign\]'"):
        private_key(tmp_path / "key")
