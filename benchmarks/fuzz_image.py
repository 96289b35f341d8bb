"""Fuzz the C loader of packed images with libFuzzer, and keep what reaches new code.

    python benchmarks/fuzz_image.py                    10 minutes; the corpus is replaced
    python benchmarks/fuzz_image.py --seconds 60 --keep

It needs clang with its fuzzer library (Debian: clang-14 and libclang-rt-14-dev). The tests need
neither: they replay `firmware_stubs/tests/corpus/` and seeded mutations of it with a program that
gcc compiles. A crash ends the run with exit code 1, and leaves the input in the current folder.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STUBS = ROOT / "firmware_stubs"
CORPUS = STUBS / "tests" / "corpus"
SOURCES = ("kt_crc32", "kt_sha256", "kt_bundle", "kt_bundle_read", "kt_image_check")
FLAGS = ("-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all")


def main() -> int:
    """Build the fuzz target, run it, and merge what it found into the corpus."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=600, help="how long (default: 600)")
    parser.add_argument("--seed", type=int, default=1, help="of libFuzzer (default: 1)")
    parser.add_argument("--keep", action="store_true", help="leave the corpus as it is")
    arguments = parser.parse_args()
    compiler = next(filter(shutil.which, ("clang", "clang-14", "clang-16", "clang-19")), None)
    if compiler is None:
        print("clang is expected, none was found. Install clang-14 and libclang-rt-14-dev.")
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = build(compiler, folder)
        seeds, base = first_inputs(folder)
        environment = {**os.environ, "KT_FUZZ_BASE": str(base)}
        found = folder / "found"
        found.mkdir()
        command = [program, f"-max_total_time={arguments.seconds}", f"-seed={arguments.seed}"]
        command += ["-max_len=4096", "-print_final_stats=1", found, CORPUS, seeds]
        run = subprocess.run(command, env=environment, check=False)
        if run.returncode != 0 or arguments.keep:
            return 1 if run.returncode else 0
        merged = folder / "merged"
        merged.mkdir()
        merge = [program, "-set_cover_merge=1", "-max_len=4096", merged, found, CORPUS, seeds]
        subprocess.run(merge, env=environment, check=True, stderr=subprocess.DEVNULL)
        shutil.rmtree(CORPUS)
        shutil.copytree(merged, CORPUS)
        print(f"{len(list(CORPUS.iterdir()))} inputs are in {CORPUS}")
    return 0


def build(compiler: str, folder: Path) -> Path:
    """The fuzz target with libFuzzer and sanitizers."""
    program = folder / "fuzz_bundle"
    files = [STUBS / "src" / f"{name}.c" for name in SOURCES]
    target = STUBS / "tests" / "fuzz_bundle.c"
    command = [compiler, *FLAGS, f"-I{STUBS}/include", "-o", program, target, *files]
    subprocess.run(command, check=True)
    return program


def first_inputs(folder: Path) -> tuple[Path, Path]:
    """Whole images with each wish of the target, and the full image for branch images."""
    path = ROOT / "tests" / "firmware_stubs" / "image_fixtures.py"
    spec = importlib.util.spec_from_file_location("image_fixtures", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    signed = [
        made.encode(one(), lambda _: bytes(range(64)))
        for one in (made.small_image, made.small_branch)
    ]
    inputs = [(0, made.FULL), (1, made.FULL), (13, signed[0]), (3, made.BRANCH), (31, signed[1])]
    seeds = folder / "seeds"
    seeds.mkdir()
    for number, (wish, image) in enumerate(inputs):
        (seeds / f"seed{number}").write_bytes(bytes([wish]) + image)
    base = folder / "base.bin"
    base.write_bytes(made.FULL)
    return seeds, base


if __name__ == "__main__":
    sys.exit(main())
