"""What the tests of a firmware folder call: make, CMake, compilers; failures show what they say."""

import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.firmware import Firmware, write_firmware
from deploy.firmware_sources import firmware_folder

STUBS = firmware_folder()
DECLARATIONS = STUBS / "tests" / "tflm_declarations"
STRICT = "-O1 -g -Wall -Wextra -Werror -pedantic"
SANITIZED = f"{STRICT} -fsanitize=address,undefined -fno-sanitize-recover=all"


def run(*command: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=300
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def make(folder: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return run("make", "--no-print-directory", "-C", folder, *words, check=check)


def written(made: Firmware, folder: Path) -> Path:
    return write_firmware(made, folder).folder


def cmake() -> str:
    path = shutil.which("cmake")
    return path or pytest.skip("cmake is not installed")
