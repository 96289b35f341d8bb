"""Damage .tflite files in every way that a hostile one may be, and read, count and check them.

    python -m benchmarks.fuzz_reader MODEL.tflite... [--cases 100000] [--seed 1]

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
import sys
import tempfile
import time
import traceback
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from benchmarks.damaged_files import Change, cases, damaged
from deploy.board import load_board
from deploy.footprint import footprint, latency_instructions, ram, shared_arena
from deploy.footprint.ram import RamError
from deploy.footprint.rom import RomError
from deploy.models import ModelError, load_models
from quantize.flatbuffer import FlatbufferError, anatomy, read_graph
from quantize.strip import strip

BOARDS = (("pico", "reference"), ("nano33ble", None), ("corstone-300-fvp", None))
"""Boards, with kernels, on which every case that can be read is counted."""

LONGEST_CASE_S = 1.0
"""A case that takes longer, in seconds of the processor, is a finding."""

# Memory that tracemalloc sees in one case, at most: so many times the file, and this much beside.
MOST_MEMORY_FACTOR = 16
MOST_MEMORY_BYTES = 1 << 20
_TRACED_ONE_IN = 25
_BATCH = 1_000


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
    kept = (
        ram.node_ram, ram._graph_and_unknown, ram._memory,
        latency_instructions._costs, latency_instructions._graph, shared_arena.share_arena,
    )  # fmt: skip
    for cache in kept:
        cache.cache_clear()


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
