"""What nodes would cost on a board if they were stored in another form: footprints, compared.

Belongs here: which nodes are stored how, and what int8 would cost instead. Does not belong here:
making the other form (`stored_form.py`), or what to say of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from deploy.footprint import Footprint, footprint
from deploy.footprint.ram import RamError
from deploy.lint.node_graph import graph_of
from deploy.lint.stored_form import as_int8
from quantize.bundle import Bundle
from quantize.precision.decoding import decoded
from quantize.strip import strip
from quantize.wire.lookup_table import DECODE


@dataclass(frozen=True)
class FormCosts:
    """How much more nodes cost as they are than in another form, in bytes; below 0 for less.

    Args:
        stored_bytes: Of their flatbuffers, both stripped: what strip would save is no difference.
        code_bytes: Of the kernels, on the board.
        ram_bytes: Of RAM, on the board.
    """

    stored_bytes: int
    code_bytes: int
    ram_bytes: int

    @property
    def rom_bytes(self) -> int:
        """Flatbuffers and kernels together."""
        return self.stored_bytes + self.code_bytes


@dataclass(frozen=True)
class OtherForm:
    """Nodes that are stored in one form that is not int8.

    Args:
        kind: "lookup tables", "int4 weights" or "int16 activations".
        int8: By node, its flatbuffer in int8.
    """

    kind: str
    int8: dict[str, bytes]

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes."""
        return tuple(self.int8)


def other_forms(bundle: Bundle, found: Footprint) -> Iterator[OtherForm]:
    """Yield the forms other than int8 in which nodes that the tasks use are stored."""
    for kind, (is_stored_so, in_int8) in _FORMS.items():
        data = {name: bundle.nodes[name].data for name in found.nodes}
        int8 = {name: in_int8(one) for name, one in data.items() if is_stored_so(one)}
        if int8:
            yield OtherForm(kind, int8)


@lru_cache(maxsize=256)
def _decoded(data: bytes) -> bytes:
    return stripped_like(decoded(data), data)


@lru_cache(maxsize=256)
def _narrowed(data: bytes) -> bytes:
    return stripped_like(as_int8(data), data)


def _has_type(dtype: str) -> Callable[[bytes], bool]:
    return lambda data: any(tensor.dtype == dtype for tensor in graph_of(data).tensors)


_FORMS: dict[str, tuple[Callable[[bytes], bool], Callable[[bytes], bytes]]] = {
    "lookup tables": (lambda data: DECODE in graph_of(data).operator_names, _decoded),
    "int4 weights": (_has_type("INT4"), _narrowed),
    "int16 activations": (_has_type("INT16"), _narrowed),
}


def form_costs(bundle: Bundle, found: Footprint, forms: Mapping[str, bytes]) -> FormCosts | None:
    """Compare a bundle with one in which some nodes have other flatbuffers.

    Args:
        bundle: The bundle.
        found: What it costs on a board.
        forms: By node its other flatbuffer, stripped like the node's own.

    Returns:
        The difference; None where a node's memory is known from a recording alone, as with an
        operator that is not simulated: what was recorded does not hold for its other form.
    """
    stored = [(bundle.nodes[name].data, data) for name, data in forms.items()]
    nodes = dict(bundle.nodes)
    for name, data in forms.items():
        operators = tuple(sorted(graph_of(data).operator_names))
        nodes[name] = replace(nodes[name], data=data, operators=operators, arena=None)
    changed, tasks = replace(bundle, nodes=nodes), tuple(found.tasks)
    try:
        other = footprint(changed, found.board, tasks, found.kernels, found.allocate)
    except RamError:
        return None
    return FormCosts(
        stored_bytes=sum(stripped_bytes(one) - stripped_bytes(other) for one, other in stored),
        code_bytes=found.runtime.rom_bytes - other.runtime.rom_bytes,
        ram_bytes=found.ram_bytes - other.ram_bytes,
    )


def stripped_like(data: bytes, original: bytes) -> bytes:
    """Strip `data` where nothing can be stripped of `original`, so that both compare."""
    return strip(data) if stripped_bytes(original) == len(original) else data


@lru_cache(maxsize=512)
def stripped_bytes(data: bytes) -> int:
    """Return the length of a flatbuffer without what the runtime never reads."""
    return len(strip(data))
