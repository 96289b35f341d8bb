"""Rule: a seam tensor larger than the input that it was computed from."""

from __future__ import annotations

import math
from collections.abc import Iterator

from deploy.footprint import Footprint
from deploy.footprint.shared_arena import seam_copies
from deploy.lint.finding import Finding
from deploy.units import format_bytes
from quantize.bundle import Bundle


def wide_seam(bundle: Bundle, found: Footprint) -> Iterator[Finding]:
    """Outputs of nodes that another node follows, against the input of their path.

    The tensor is written, read again, and copied where several nodes read it.
    """
    paths = [task.path for task in found.tasks.values()]
    copied, _ = seam_copies(paths, bundle.nodes)
    inputs: dict[str, int] = {}
    for path in paths:
        input_bytes = math.prod(bundle.nodes[path[0]].input.shape)
        for name in path[:-1]:
            inputs[name] = max(input_bytes, inputs.get(name, 0))
    for name, input_bytes in inputs.items():
        seam_bytes = math.prod(bundle.nodes[name].output.shape)
        if seam_bytes > input_bytes > 0:
            copy = ", and is copied for those that read it later" if name in copied else ""
            yield Finding(
                "wide-seam",
                (name,),
                f"the output of {name}, {format_bytes(seam_bytes)}, is "
                f"{seam_bytes / input_bytes:.1f} times the input of {format_bytes(input_bytes)}"
                f"{copy}",
                "cut where the tensor is smaller, such as behind a stride or a pooling",
                "RAM",
            )
