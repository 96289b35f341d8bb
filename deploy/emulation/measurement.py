"""What was measured of a bundle on a core: values, and their file.

A measurement belongs to the bytes of the nodes that it was made of. It is kept beside the bundle,
not in it, as a file of its own; the nodes' digests in it tell whether it still holds.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantize.bundle import Bundle

__all__ = [
    "Measurement",
    "MeasurementError",
    "MeasuredOperator",
    "MeasuredTask",
    "RomPart",
    "check_measurement",
    "measurement_text",
    "read_measurement",
]

FORMAT = "keras-tree measurement"
FORMAT_VERSION = 1


class MeasurementError(ValueError):
    """A file that is no measurement, or one of another bundle."""


@dataclass(frozen=True)
class RomPart:
    """Bytes in flash.

    Args:
        name: The symbol.
        kind: "constant", "parameters", "code", "kernel", "library" or "padding".
        section: Of the image.
        size_bytes: Its length.
        nodes: The nodes that use it; empty where all do, or it is not known.
    """

    name: str
    kind: str
    section: str
    size_bytes: int
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class MeasuredOperator:
    """One call of a kernel.

    Args:
        node: The node that it belongs to.
        index: Of the step in the node, from 0; operators that only rename a tensor are none.
        operator: Its name in the flatbuffer.
        kernel: The function in C.
        instructions: Of the first golden vector.
    """

    node: str
    index: int
    operator: str
    kernel: str
    instructions: int


@dataclass(frozen=True)
class MeasuredTask:
    """One inference of a task: its whole path, the trunk included.

    Args:
        path: Its nodes.
        vectors: Golden vectors that were run; every output byte was equal.
        instructions: Of the first vector.
        least_instructions: Of the vector that takes the fewest.
        most_instructions: Of the vector that takes the most.
        stack_bytes: The deepest stack of all vectors, below the caller of `kt_run_<task>`.
        operators: The calls of the first vector; what is not in them is the generated code.
    """

    path: tuple[str, ...]
    vectors: int
    instructions: int
    least_instructions: int
    most_instructions: int
    stack_bytes: int
    operators: tuple[MeasuredOperator, ...]


@dataclass(frozen=True)
class Measurement:
    """What a bundle's plain-C firmware takes on a core, measured.

    Args:
        bundle: Its name.
        nodes: sha256 of each node's flatbuffer.
        core: The core.
        isa: "portable", "dsp" or "mve": the kernels.
        compiler: The compiler's own words.
        optimize: Its level.
        emulator: What ran it.
        tasks: By task.
        rom_sections: Bytes in flash by section.
        rom_parts: The same bytes by what they are.
        harness_bytes: Flash of start-up code, self-test and golden vectors, which are not counted.
        buffer_bytes: The one buffer of all activations.
        other_ram_bytes: Static memory besides the buffer.
    """

    bundle: str
    nodes: dict[str, str]
    core: str
    isa: str
    compiler: str
    optimize: str
    emulator: str
    tasks: dict[str, MeasuredTask]
    rom_sections: dict[str, int]
    rom_parts: tuple[RomPart, ...] = field(repr=False)
    harness_bytes: int
    buffer_bytes: int
    other_ram_bytes: int

    @property
    def rom_bytes(self) -> int:
        """Flash: constants, parameters, code, kernels."""
        return sum(self.rom_sections.values())

    @property
    def static_ram_bytes(self) -> int:
        """RAM that is taken all the time; the stack comes to it."""
        return self.buffer_bytes + self.other_ram_bytes

    @property
    def stack_bytes(self) -> int:
        """The deepest stack of all tasks."""
        return max((task.stack_bytes for task in self.tasks.values()), default=0)

    def rom_by_kind(self) -> dict[str, int]:
        """Flash by what it holds; sums to `rom_bytes`."""
        return _summed((part.kind, part.size_bytes) for part in self.rom_parts)

    def rom_by_node(self) -> dict[tuple[str, ...], int]:
        """Flash by the nodes that share it; sums to `rom_bytes`.

        What no node owns, kernels, library and padding, is under the empty tuple.
        """
        return _summed((part.nodes, part.size_bytes) for part in self.rom_parts)


def measurement_text(measurement: Measurement) -> str:
    """A measurement as a file: JSON, the same bytes for the same figures."""
    data = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(measurement)}
    data["rom_bytes"] = measurement.rom_bytes
    data["static_ram_bytes"] = measurement.static_ram_bytes
    data["stack_bytes"] = measurement.stack_bytes
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def read_measurement(path: Path) -> Measurement:
    """Read what `keras-tree measure --output` wrote.

    Raises:
        MeasurementError: It is no such file, or of a newer format.
        OSError: It cannot be read.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = data["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise _wrong(path, "it is no JSON with a `format`") from error
    if found != FORMAT:
        raise _wrong(path, f"its `format` is {found!r}")
    if data.get("format_version") != FORMAT_VERSION:
        raise _wrong(path, f"its `format_version` is {data.get('format_version')!r}, not 1")
    try:
        measurement = _measurement(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise _wrong(path, f"a field is missing or wrong: {error}") from error
    if sum(part.size_bytes for part in measurement.rom_parts) != measurement.rom_bytes:
        raise _wrong(path, "the parts of its ROM do not sum to its sections")
    return measurement


def check_measurement(measurement: Measurement, bundle: Bundle) -> None:
    """Refuse a measurement of other bytes than the bundle's.

    Args:
        measurement: What was read.
        bundle: What it is used for; of all tasks, or selected ones.

    Raises:
        MeasurementError: A node is another one, or other nodes were measured.
    """
    now = {name: node.sha256 for name, node in bundle.nodes.items()}
    if now == measurement.nodes and set(bundle.tasks) == set(measurement.tasks):
        return
    changed = [name for name in now if measurement.nodes.get(name) != now[name]]
    changed += [name for name in measurement.nodes if name not in now]
    what = f"node '{changed[0]}' differs" if changed else "its tasks are others"
    raise MeasurementError(
        f"The measurement must be of the bundle '{bundle.name}' as it is, it is stale: {what}. "
        f"Measure it again: `keras-tree measure BUNDLE --core {measurement.core} --output FILE`."
    )


def _measurement(data: dict[str, Any]) -> Measurement:
    tasks = {
        name: MeasuredTask(
            **{
                **task,
                "path": tuple(task["path"]),
                "operators": tuple(MeasuredOperator(**one) for one in task["operators"]),
            }
        )
        for name, task in data["tasks"].items()
    }
    parts = tuple(RomPart(**{**one, "nodes": tuple(one["nodes"])}) for one in data["rom_parts"])
    known = {name: data[name] for name in Measurement.__dataclass_fields__}
    return Measurement(**{**known, "tasks": tasks, "rom_parts": parts})


def _summed(pairs: Any) -> dict[Any, int]:
    found: dict[Any, int] = {}
    for key, size in pairs:
        found[key] = found.get(key, 0) + size
    return found


def _wrong(path: Path, what: str) -> MeasurementError:
    return MeasurementError(
        f"'{path}' must be a measurement that `keras-tree measure --output` wrote; {what}. "
        "Measure the bundle again."
    )
