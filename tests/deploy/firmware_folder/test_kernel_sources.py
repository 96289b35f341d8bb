"""Every kernel is found by its name, with what it calls, and takes no more than is said."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from folder_building import STUBS, run

from deploy.board import load_board
from deploy.codegen import compile_bundle
from deploy.firmware_folder.cross_compiler import cross_compiler
from deploy.firmware_folder.kernel_code import MOST_BYTES
from deploy.firmware_folder.kernel_sources import included, kernel_files

MOST_BYTES_IN = "deploy/firmware_folder/kernel_code.py"


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0plus", "cortex-m55"])
def test_no_file_of_kernels_takes_more_than_the_bound(core, tmp_path):
    compiler = cross_compiler(replace(load_board("pico"), core=core, fpu="none"))
    for source in sorted((STUBS / "src").glob("*.c")):
        if "kt_kernels.h" not in source.read_text():
            continue
        product = tmp_path / f"{source.stem}.o"
        include = f"-I{STUBS / 'include'}"
        run("arm-none-eabi-gcc", "-std=c99", "-O2", *compiler.flags, include, "-c", source,
            "-o", product)  # fmt: skip
        text, data, bss = run("arm-none-eabi-size", product).stdout.splitlines()[1].split()[:3]
        assert (data, bss) == ("0", "0"), source.name
        bound = MOST_BYTES.get(source.name, 0)
        assert int(text) <= bound, (
            f"{source.name}: raise MOST_BYTES in {MOST_BYTES_IN} above {text}"
        )


def test_only_the_kernels_that_are_used_are_there(in_c, device_bundle):
    program = compile_bundle(device_bundle, isa="dsp")
    sources = {Path(name).name for name in in_c.files if name.startswith("src/")}
    assert {"kt_conv.c", "kt_conv_dsp.c", "kt_softmax.c"} <= sources
    assert not sources & {"kt_conv_mve.c", "kt_resize.c", "kt_prelu.c", "kt_update.c"}
    assert set(kernel_files(program.kernels, "dsp")) <= sources


def test_every_kernel_is_found_in_every_set():
    header = (STUBS / "include" / "kt_kernels.h").read_text()
    functions = re.findall(r"^void (kt_\w+)\(", header, re.MULTILINE)
    assert len(functions) > 20
    for isa in ("portable", "dsp", "mve"):
        for function in functions:
            files = kernel_files([function], isa)
            assert files, f"{function}, {isa}"
            assert "include/kt_kernels.h" in included(f"src/{name}" for name in files)
