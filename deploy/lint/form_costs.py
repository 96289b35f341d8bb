"""What nodes would cost on a board if they were stored in another form: footprints, compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from deploy.footprint import Footprint, footprint
from quantize.bundle import Bundle
from quantize.flatbuffer import read_graph
from quantize.strip import strip


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


def form_costs(bundle: Bundle, found: Footprint, forms: Mapping[str, bytes]) -> FormCosts:
    """Compare a bundle with one in which some nodes have other flatbuffers.

    Args:
        bundle: The bundle.
        found: What it costs on a board.
        forms: By node its other flatbuffer, stripped like the node's own.
    """
    stored = [(bundle.nodes[name].data, data) for name, data in forms.items()]
    nodes = dict(bundle.nodes)
    for name, data in forms.items():
        operators = tuple(sorted(read_graph(data).operator_names))
        # What was recorded of the node does not hold for its other form.
        nodes[name] = replace(nodes[name], data=data, operators=operators, arena=None)
    other = footprint(
        replace(bundle, nodes=nodes), found.board, tuple(found.tasks), found.kernels, found.allocate
    )
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
