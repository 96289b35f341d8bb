"""The plain C files are found in a checkout and in an installation."""

import shutil

import pytest

from deploy import firmware_sources
from deploy.firmware_sources import FirmwareSourceError, firmware_file, firmware_folder


def test_the_plain_sources_are_found_beside_the_packages_and_in_a_prefix(tmp_path, monkeypatch):
    assert firmware_file("include/kt_kernels.h").is_file()
    with pytest.raises(FirmwareSourceError, match="must be a file of"):
        firmware_file("include/kt_nothing.h")
    packages = tmp_path / "lib" / "python3" / "site-packages"
    installed = tmp_path / "share" / "keras-tree" / "firmware_stubs"
    shutil.copytree(firmware_folder() / "include", installed / "include")
    monkeypatch.setattr(firmware_sources, "__file__", str(packages / "deploy" / "x.py"))
    assert firmware_folder() == installed
    shutil.rmtree(installed)
    monkeypatch.setattr(firmware_sources.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(firmware_sources.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(FirmwareSourceError, match="Install keras-tree anew"):
        firmware_folder()
