"""Damage .tflite files in every way that a hostile one may be, and read, count and check them.

    python benchmarks/fuzz_reader.py MODEL.tflite... [--cases 100000] [--seed 1]

Every case is a public model, as published or stripped, with up to eight changes: bits flipped,
bytes, lengths and offsets overwritten with extreme values, offsets led elsewhere (in circles too),
parts cut out, repeated or moved, the end cut off. It goes through `read_graph`, `anatomy`, and,
where the graph is read, through `load_models` and the footprint on three boards. Any error but the
ones that say what is wrong, a case of more than a second, or memory of more than a few times the
file is a finding. Prints cases a second while it runs, then the findings; exits with 1 when there
are any. `tests/benchmarks/test_fuzz_reader.py` runs 2,000 of the same cases.
"""

from __future__ import annotations

import argparse
import resource
import struct
import sys
import tempfile
import time
import traceback
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from deploy.board import load_board
from deploy.footprint import footprint, ram
from deploy.footprint.ram import RamError
from deploy.footprint.rom import RomError
from deploy.models import ModelError, load_models
from quantize.flatbuffer import FlatbufferError, anatomy, read_graph
from quantize.strip import strip
from quantize.wire.reader import decode

BOARDS = (("pico", "reference"), ("nano33ble", None), ("corstone-300-fvp", None))
"""Boards, with kernels, on which every case that can be read is counted."""

LONGEST_CASE_S = 1.0
"""A case that takes longer, in seconds of the processor, is a finding."""

# Memory that tracemalloc sees in one case, at most: so many times the file, and this much beside.
MOST_MEMORY_FACTOR = 16
MOST_MEMORY_BYTES = 1 << 20
_TRACED_ONE_IN = 25
_BATCH = 1_000
_EXTREMES = (0, 1, 2, 3, 4, 5, 8, 0x7F, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 4, 2**32 - 1)
_RELATIVE = (-8, -5, -4, -1, 0, 1)

Change = tuple[str, int, int, int]
"""What is done, two numbers that choose places, and one that chooses a value."""


@dataclass
class Findings:
    """What the cases came to.

    Args:
        outcomes: How many ended how: "read", or the name of an error.
        errors: By what went wrong and where, how often; and one file that shows it.
        longest_s: Seconds of the processor that the longest case took.
        most_memory: The most memory of a traced case above `MOST_MEMORY_BYTES`, in multiples of the
            file.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, bytes] = field(default_factory=dict)
    longest_s: float = 0.0
    most_memory: float = 0.0

    def add(self, problem: str, data: bytes) -> None:
        """Note a problem and the first file that shows it."""
        self.errors[problem] += 1
        self.examples.setdefault(problem, data)


@lru_cache(maxsize=64)
def structure(data: bytes) -> tuple[int, ...]:
    """The places of a sound file at which damage matters: all but the contents of its buffers."""
    places: list[int] = [0, 4]

    def tell(kind: str, start: int, size_bytes: int, where: str) -> None:
        is_data = kind == "vector" and where.startswith("Model.buffers")
        places.extend(range(start, start + (4 if is_data else size_bytes), 2))

    decode(data, tell)
    return tuple(sorted(places))


def cases(originals: Sequence[bytes]) -> st.SearchStrategy[tuple[int, list[Change]]]:
    """A file's number, and the changes made to it."""
    number = st.integers(0, 2**16 - 1)
    kinds = st.sampled_from(tuple(_CHANGES))
    changes = st.lists(st.tuples(kinds, number, number, number), min_size=1, max_size=8)
    return st.tuples(st.integers(0, len(originals) - 1), changes)


def damaged(original: bytes, changes: Sequence[Change]) -> bytes:
    """The file after the changes, one after the other."""
    data = bytearray(original)
    places = structure(original)
    for kind, one, other, value in changes:
        if len(data) < 16:
            break
        # Most damage where it is felt, some anywhere.
        place = places[one % len(places)] if one % 8 else (one * 65_537 + other) % len(data)
        _CHANGES[kind](data, min(place, len(data) - 8), places[other % len(places)], value)
    return bytes(data)


def _flip(data: bytearray, place: int, other: int, value: int) -> None:
    data[place] ^= 1 << value % 8


def _byte(data: bytearray, place: int, other: int, value: int) -> None:
    data[place] = value % 256


def _half(data: bytearray, place: int, other: int, value: int) -> None:
    struct.pack_into("<H", data, place & ~1, value)


def _extreme(data: bytearray, place: int, other: int, value: int) -> None:
    struct.pack_into("<I", data, place & ~3, _EXTREMES[value % len(_EXTREMES)])


def _small(data: bytearray, place: int, other: int, value: int) -> None:
    """Another shape, stride, axis, index or code."""
    struct.pack_into("<I", data, place & ~3, value % 48)


def _nudge(data: bytearray, place: int, other: int, value: int) -> None:
    word = struct.unpack_from("<I", data, place & ~3)[0]
    struct.pack_into("<I", data, place & ~3, (word + value % 17 - 8) % 2**32)


def _end(data: bytearray, place: int, other: int, value: int) -> None:
    """An offset or a length that ends near the file's end."""
    left = len(data) - (place & ~3) + _RELATIVE[value % len(_RELATIVE)]
    count = left // (1, 2, 4, 8)[value // 8 % 4]
    struct.pack_into("<I", data, place & ~3, max(0, count))


def _lead(data: bytearray, place: int, other: int, value: int) -> None:
    """An offset that leads to another object, backwards too."""
    struct.pack_into("<I", data, place & ~3, (other - (place & ~3)) % 2**32)


def _spread(data: bytearray, place: int, other: int, value: int) -> None:
    """Equal words in a row: many offsets to few objects."""
    for i in range(min(value % 64, (len(data) - place) // 4 - 1)):
        word = struct.unpack_from("<I", data, place & ~3)[0]
        struct.pack_into("<I", data, (place & ~3) + 4 * i, max(0, word - 4 * i))


def _copy(data: bytearray, place: int, other: int, value: int) -> None:
    size = 1 + value % 256
    part = data[other : other + size]
    data[place : place + len(part)] = part


def _repeat(data: bytearray, place: int, other: int, value: int) -> None:
    size = 1 + value % 4096
    data[place:place] = data[other : other + size]


def _cut(data: bytearray, place: int, other: int, value: int) -> None:
    del data[place : place + 1 + value % 1024]


def _truncate(data: bytearray, place: int, other: int, value: int) -> None:
    if value % 4 == 0:
        del data[max(16, place) :]


_CHANGES: dict[str, Callable[[bytearray, int, int, int], None]] = {
    "flip": _flip,
    "byte": _byte,
    "half": _half,
    "extreme": _extreme,
    "small": _small,
    "nudge": _nudge,
    "end": _end,
    "lead": _lead,
    "spread": _spread,
    "copy": _copy,
    "repeat": _repeat,
    "cut": _cut,
    "truncate": _truncate,
}


def examine(data: bytes, folder: Path) -> str:
    """Put a file through everything that reads one.

    Args:
        data: The file.
        folder: Where it may be written.

    Returns:
        "read", or the name of the error that says what is wrong with it.

    Raises:
        Exception: Anything that is not such an error.
    """
    try:
        sizes = anatomy(data)
        if sum(sizes.values()) != len(data):
            raise RuntimeError("the anatomy does not sum to the file")
        read_graph(data)
        path = folder / "case.tflite"
        path.write_bytes(data)
        bundle = load_models([path])
        for board, kernels in BOARDS:
            footprint(bundle, load_board(board), None, kernels)
    except (FlatbufferError, ModelError, RamError, RomError) as error:
        return type(error).__name__
    return "read"


def forget() -> None:
    """Drop what the models keep of files that they have seen."""
    for name in ("_graph_and_unknown", "_memory"):
        getattr(ram, name).cache_clear()


def run_case(data: bytes, folder: Path, findings: Findings, traced: bool) -> None:
    """Examine one case and note what it came to."""
    if traced:
        tracemalloc.start()
    began = time.process_time()
    try:
        outcome = examine(data, folder)
    except Exception as error:
        outcome = type(error).__name__
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        findings.add(f"{outcome} at {place}: {str(error)[:100]}", data)
    seconds = time.process_time() - began
    findings.outcomes[outcome] += 1
    if traced:
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        factor = (peak_bytes - MOST_MEMORY_BYTES) / max(1, len(data))
        findings.most_memory = max(findings.most_memory, factor)
        if factor > MOST_MEMORY_FACTOR:
            findings.add("memory beyond the limit", data)
    else:
        findings.longest_s = max(findings.longest_s, seconds)
        if seconds > LONGEST_CASE_S:
            findings.add("a case beyond the time limit", data)
    forget()


def fuzz(
    originals: Sequence[bytes],
    count: int,
    first_seed: int,
    progress: Callable[[int, Findings], None] = lambda done, findings: None,
) -> Findings:
    """Run `count` cases on `originals`, seed by seed.

    Args:
        originals: Sound .tflite files.
        count: How many cases.
        first_seed: Where to begin; the same seed gives the same cases.
        progress: Told from time to time how many are done.

    Returns:
        What they came to.
    """
    findings = Findings()
    done = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def one(case: tuple[int, list[Change]]) -> None:
            nonlocal done
            original, changes = case
            data = damaged(originals[original], changes)
            run_case(data, folder, findings, traced=done % _TRACED_ONE_IN == 0)
            done += 1

        # What is loaded once for all is no case's memory.
        for original in originals:
            examine(original, folder)
        batch = 0
        while done < count:
            begun = done
            quiet = settings(
                max_examples=min(_BATCH, count - done),
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            seed(first_seed + batch)(quiet(given(cases(originals))(one)))()
            batch += 1
            progress(done, findings)
            if done == begun:
                raise RuntimeError("no case was made: hypothesis is set to make none")
    return findings


def both(paths: Sequence[Path]) -> list[bytes]:
    """Every file as it is, and stripped."""
    files = [path.read_bytes() for path in paths]
    return [*files, *map(strip, files)]


def _bar(total: int, began: float) -> Callable[[int, Findings], None]:
    def show(done: int, findings: Findings) -> None:
        rate = done / (time.perf_counter() - began)
        filled = "#" * (30 * done // total)
        left_s = (total - done) / rate
        print(
            f"\r[{filled:30}] {done:,} of {total:,}, {rate:.0f}/s, {left_s / 60:.1f} min left, "
            f"{len(findings.errors)} findings",
            end="", file=sys.stderr, flush=True,
        )  # fmt: skip

    return show


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz, print the findings, and write the files that show them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"), metavar="FOLDER")
    chosen = parser.parse_args(arguments)
    began = time.perf_counter()
    findings = fuzz(both(chosen.models), chosen.cases, chosen.seed, _bar(chosen.cases, began))
    seconds = time.perf_counter() - began
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{sum(findings.outcomes.values()):,} cases in {seconds:.0f} s, seed {chosen.seed}")
    print("  " + ", ".join(f"{name} {count:,}" for name, count in findings.outcomes.most_common()))
    print(f"  longest case {findings.longest_s:.2f} s; process {peak_mib:.0f} MiB")
    print(
        f"  one case in {_TRACED_ONE_IN} traced: 1 MiB and {findings.most_memory:.1f} files at most"
    )
    for number, (problem, count) in enumerate(findings.errors.most_common()):
        chosen.out.mkdir(parents=True, exist_ok=True)
        path = chosen.out / f"{number}.tflite"
        path.write_bytes(findings.examples[problem])
        print(f"  {count:,} times {problem}: {path}")
    return 1 if findings.errors else 0


if __name__ == "__main__":
    sys.exit(main())
