"""Files that were damaged at random, and files made to take memory or time without end."""

import struct
import time
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.damaged_files import CHANGES, damaged, structure
from benchmarks.fuzz_reader import (
    LONGEST_CASE_S,
    Findings,
    both,
    examine,
    forget,
    fuzz,
    main,
    run_case,
)
from quantize.flatbuffer import FlatbufferError, anatomy, read_graph
from quantize.wire.encoding import Table, Vector
from quantize.wire.reader import decode
from quantize.wire.writer import encode

# What a hostile file may take: this much, and so many times its length. Sound files take 1.2 to 3.2
# times their length.
MOST_BYTES, MOST_FACTOR = 1 << 20, 60


@pytest.fixture(scope="module")
def originals(shared: Path) -> list[bytes]:
    return both(sorted((shared / "models").glob("*.tflite")))


def assert_nothing_was_found(findings: Findings, count: int) -> None:
    assert findings.errors == {}
    assert sum(findings.outcomes.values()) == count
    # Most damage is refused, and some files pass: both ways are tried.
    assert findings.outcomes["FlatbufferError"] > count // 2
    assert findings.outcomes["read"] > count // 50


def test_damaged_public_models(originals: list[bytes]) -> None:
    assert len(originals) == 8
    assert_nothing_was_found(fuzz(originals, 150, first_seed=100), 150)


@pytest.mark.slow
def test_two_thousand_damaged_public_models(originals: list[bytes]) -> None:
    assert_nothing_was_found(fuzz(originals, 2_000, first_seed=1), 2_000)


def test_the_same_seed_makes_the_same_cases(originals: list[bytes]) -> None:
    first, again, other = (fuzz(originals[:1], 30, first_seed=n).outcomes for n in (3, 3, 4))
    assert first == again
    assert sum(other.values()) == 30


def test_every_kind_of_damage_changes_a_file(originals: list[bytes]) -> None:
    for kind in CHANGES:
        some = [(kind, place, place * 3 + 1, 4 * place + 40) for place in range(1, 40)]
        assert any(damaged(originals[0], [change]) != originals[0] for change in some), kind


def test_structure_leaves_out_weights(originals: list[bytes]) -> None:
    for original in originals:
        sizes = anatomy(original)
        weights = sizes["weights"] + sizes["biases"]
        assert len(structure(original)) <= (len(original) - weights) // 2 + 8


def test_a_finding_is_told_with_its_file(
    monkeypatch: pytest.MonkeyPatch, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = shared / "models" / "tflm__micro_speech_quantized.tflite"
    arguments = [str(path), "--cases", "5", "--out", str(tmp_path / "found")]
    assert main(arguments) == 0
    assert "5 cases in" in capsys.readouterr().out
    seen: list[bytes] = []

    def crash(data: bytes, folder: Path) -> str:
        # The sound files, once as published and once stripped, come first.
        seen.append(data)
        if len(seen) > 2:
            raise ZeroDivisionError("by nothing")
        return "read"

    monkeypatch.setattr("benchmarks.fuzz_reader.examine", crash)
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert "5 times ZeroDivisionError at test_fuzz_reader.py:" in out
    assert (tmp_path / "found" / "0.tflite").read_bytes() == seen[2]


def test_a_slow_case_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("benchmarks.fuzz_reader.LONGEST_CASE_S", -1.0)
    findings = Findings()
    run_case(b"data", tmp_path, findings, traced=False)
    assert findings.errors == {"a case beyond the time limit": 1}
    monkeypatch.setattr("benchmarks.fuzz_reader.MOST_MEMORY_FACTOR", -(1 << 20))
    findings = Findings()
    run_case(b"data", tmp_path, findings, traced=True)
    assert findings.errors == {"memory beyond the limit": 1}


# Files made to take memory or time.


def model(tensors: Sequence[Table], operators: Sequence[Table] = (), **fields: object) -> bytes:
    ends = {name: Vector.of("i32", [0]) for name in ("inputs", "outputs")}
    graph = Table("SubGraph", {"tensors": tuple(tensors), "operators": tuple(operators), **ends})
    codes = (Table("OperatorCode", {"builtinCode": 59}),)
    buffers = (Table("Buffer", {}),)
    whole = {"version": 3, "subgraphs": (graph,), "operatorCodes": codes, "buffers": buffers}
    return encode(Table("Model", {**whole, **fields}))


def tensor(number: int, **fields: object) -> Table:
    return Table("Tensor", {"shape": Vector.of("i32", [1, number + 1]), "type": 9, **fields})


def operator(inputs: Vector, number: int = 0) -> Table:
    ends = {"inputs": inputs, "outputs": Vector.of("i32", [0])}
    return Table("Operator", {**ends, "debugMetadataIndex": number})


def smallest_tables(count: int) -> bytes:
    """Buffers that are tables without a field, four bytes each, every one by itself."""
    header = struct.pack("<I4s", 28, b"TFL3")
    vtable = struct.pack("<HH7H", 18, 12, 8, 0, 0, 0, 4, 0, 0) + bytes(2)
    table = struct.pack("<iII", 20, 8, 3)
    first = 28 + 12 + 4 + 4 * count + 4
    offsets = [first + 4 * i - (44 + 4 * i) for i in range(count)]
    backs = [4 + 4 * i for i in range(count)]
    return b"".join(
        (
            header,
            vtable,
            table,
            struct.pack(f"<{count + 1}I", count, *offsets),
            struct.pack("<HH", 4, 4),
            struct.pack(f"<{count}i", *backs),
        )
    )


ZEROS = Vector.of("i32", [0] * 10_000)
SCALES = Table("QuantizationParameters", {"scale": Vector.of("f32", [0.5] * 10_000)})
HOSTILE = {
    "one tensor many times": model([tensor(0)] * 25_000),
    "one operator many times": model([tensor(0)], [operator(Vector.of("i32", [0]))] * 25_000),
    "one vector in many operators": model([tensor(0)], [operator(ZEROS, i) for i in range(60)]),
    "one vector in a few operators": model([tensor(0)], [operator(ZEROS, i) for i in range(12)]),
    "one name in many tensors": model([tensor(i, name=b"\xff" * 50_000) for i in range(12)]),
    "one vector of scales": model(
        [
            Table("Tensor", {"shape": Vector.of("i32", [10_000]), "type": 9, "quantization": SCALES,
                             "shapeSignature": Vector.of("i32", [i])}) for i in range(12)
        ]
    ),
    "many small tensors": model([tensor(i) for i in range(5_000)]),
    "many small buffers": model(
        [tensor(0)],
        buffers=tuple(Table("Buffer", {"data": Vector("u8", b"%4d" % i)}) for i in range(5_000)),
    ),
    "one buffer many times": model([tensor(0)], buffers=(Table("Buffer", {}),) * 25_000),
    "the smallest tables": smallest_tables(12_500),
    "few of the smallest tables": smallest_tables(400),
}  # fmt: skip


@pytest.mark.parametrize("read", [decode, read_graph, anatomy])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_file_takes_memory_without_end(name: str, read: Callable[[bytes], object]) -> None:
    data = HOSTILE[name]
    tracemalloc.start()
    began = time.process_time()
    with suppress(FlatbufferError):
        read(data)
    seconds = time.process_time() - began
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < MOST_BYTES + MOST_FACTOR * len(data)
    assert seconds < 5  # with every allocation traced


@pytest.mark.parametrize("name", HOSTILE)
def test_no_file_takes_time_without_end(name: str, tmp_path: Path) -> None:
    began = time.process_time()
    examine(HOSTILE[name], tmp_path)
    assert time.process_time() - began < LONGEST_CASE_S
    forget()


def test_hostile_files_are_such_as_they_say() -> None:
    accepted = {name for name, data in HOSTILE.items() if _is_decoded(data)}
    assert accepted == {
        "one vector in a few operators", "one name in many tensors", "one vector of scales",
        "many small tensors",
        "one buffer many times", "few of the smallest tables",
    }  # fmt: skip


def _is_decoded(data: bytes) -> bool:
    try:
        decode(data)
    except FlatbufferError:
        return False
    return True
