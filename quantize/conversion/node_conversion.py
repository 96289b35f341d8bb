"""The order of work: every node calibrated on what precedes it, and made to fit its seams.

Belongs here: which node is calibrated or converted next, and when a seam's range is settled. Does
not belong here: how a node is converted to given seams (`seam.py`), or what a bundle holds.

A node can be calibrated once every node before it is converted, over all its paths. A seam of one
producer is settled when that is converted; one of several when all of them are calibrated. A node
can be converted once its input's seam is settled, and its output's too if that has several
producers. Paths that skip nodes, or run them in different orders, close a circle in these rules:
A runs trunk, b1, b2 and B runs trunk, b2; then the outputs of trunk and b1 are one seam, which
needs the range of b1, which needs the converted trunk, which needs the seam. Such a circle is
opened at its first seam: a producer that is not calibrated yet is calibrated for that seam's sake
on float activations, and once more for its own on what really precedes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

from quantize.calibration import Activations, CalibrationError
from quantize.conversion.freezing import FrozenNode
from quantize.conversion.pinning import Side, calibrated_range, node_specs, spec_of_range
from quantize.conversion.refusal import check_flatbuffer
from quantize.precision.choice import LUT_BITS
from quantize.precision.stored_form import Quantizer, check_installed, quantize_step, with_tables
from quantize.seam import SeamClass, SeamError, quantize_to_seams, seam_classes
from quantize.storage.checks import describe
from quantize.tensor_spec import TensorSpec


class NodeConverter(Quantizer, Protocol):
    """The converter's two steps (`convert.Converter`)."""

    def calibrate(self, node: FrozenNode, samples: np.ndarray) -> bytes:
        """Return the node's float flatbuffer with calibrated ranges."""


class NodeConversion:
    """The conversion of all the nodes on a set of paths.

    Args:
        frozen: The nodes to convert, by name in the order of the tree; with those of `kept` they
            are all the nodes of the paths.
        paths: The shipped tasks' paths.
        activations: What every node is fed with.
        converter: The converter.
        kept: Flatbuffers of nodes that stay as they are, by name.
        progress: Called with a line of text at every step.
        precisions: The precision of each node; "int8" where a node is left out.
    """

    def __init__(
        self,
        frozen: Mapping[str, FrozenNode],
        paths: Mapping[str, Sequence[str]],
        activations: Activations,
        converter: NodeConverter,
        kept: Mapping[str, bytes] | None = None,
        progress: Callable[[str], None] = lambda line: None,
        precisions: Mapping[str, str] | None = None,
    ) -> None:
        self._frozen = frozen
        self._activations = activations
        self._converter = converter
        self._precisions = dict(precisions or {})
        check_installed(self._precisions[name] for name in frozen if name in self._precisions)
        self._progress = progress
        self.classes = seam_classes(paths)
        self._before = {
            node: {
                before
                for path in paths.values()
                for before, after in pairwise(path)
                if after == node
            }
            for node in frozen
        }
        self._input_class = {name: seam for seam in self.classes for name in seam.consumers}
        self._output_class = {name: seam for seam in self.classes for name in seam.producers}
        self._calibrated: dict[str, bytes] = {}
        self._settled: dict[str, TensorSpec] = {}
        self._data: dict[str, bytes] = {}
        for name, data in (kept or {}).items():
            self._keep(name, data)

    def run(self) -> dict[str, bytes]:
        """Convert the nodes that are not kept, and return the flatbuffers of all.

        Raises:
            CalibrationError: A node's output is 0 for every sample.
            ConversionError: The converter refuses a node.
            PrecisionError: A node cannot be stored in its precision.
            RefusalError: A node is not int8 throughout, or the interpreter does not run it.
            SeamError: Kept nodes contradict each other at a seam.
        """
        while not all(name in self._data for name in self._frozen):
            if not (self._calibrate_ready() or self._settle_ready() or self._convert_ready()):
                self._open_circle()
        return self._data

    def _keep(self, name: str, data: bytes) -> None:
        source, target = node_specs(data)
        self._accept(name, data)
        for seam, spec in (
            (self._input_class.get(name), source),
            (self._output_class.get(name), target),
        ):
            if seam is None:
                continue
            if self._settled.setdefault(seam.name, spec) != spec:
                raise SeamError(
                    f"`base` must give seam '{seam.name}' one scale and zero point; it gives "
                    f"{describe(self._settled[seam.name])} and, at '{name}', {describe(spec)}: its "
                    "nodes were no neighbours there. Quantize without `base`."
                )

    def _accept(self, name: str, data: bytes) -> None:
        self._data[name] = data
        self._activations.add(name, data)

    def _calibrate_ready(self) -> bool:
        """Calibrate the first node whose predecessors are all converted."""
        for name in self._frozen:
            if name not in self._calibrated and all(
                node in self._data for node in self._before[name]
            ):
                self._calibrate(name)
                return True
        return False

    def _calibrate(self, name: str) -> None:
        self._calibrated[name] = self._calibration(name)

    def _calibration(self, name: str) -> bytes:
        """Return a node calibrated on what it is fed with, as far as that is known."""
        if name in self._calibrated:
            return self._calibrated[name]
        inputs = self._activations.inputs(name)
        self._progress(f"calibrating '{name}' on {len(inputs)} samples")
        calibrated = self._converter.calibrate(self._frozen[name], inputs)
        _check_range(name, calibrated_range(calibrated, "output"))
        return calibrated

    def _settle_ready(self) -> bool:
        """Settle the first seam all of whose producers are known."""
        for seam in self._open_classes():
            if len(seam.producers) == 1:
                if seam.producers[0] in self._data:
                    self._settled[seam.name] = node_specs(self._data[seam.producers[0]])[1]
                    return True
            elif all(name in self._calibrated for name in seam.producers):
                self._settle(seam)
                return True
        return False

    def _settle(self, seam: SeamClass) -> None:
        """Give a seam the union of its producers' ranges."""
        ranges = [calibrated_range(self._calibration(name), "output") for name in seam.producers]
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        self._progress(f"seam of {_joined(seam.producers)}: range {low:.4g} to {high:.4g}")
        shape = self._activations.output_shape(seam.producers[0])
        self._settled[seam.name] = spec_of_range(low, high, shape)

    def _open_classes(self) -> list[SeamClass]:
        return [seam for seam in self.classes if seam.name not in self._settled]

    def _convert_ready(self) -> bool:
        """Convert the first calibrated node whose ends are settled."""
        for name in self._frozen:
            if name in self._calibrated and name not in self._data:
                pins = self._pins(name)
                if pins is not None:
                    self._accept(name, self._converted(name, pins))
                    return True
        return False

    def _converted(self, name: str, pins: Mapping[Side, TensorSpec]) -> bytes:
        """Return a calibrated node's flatbuffer in its precision."""
        node, precision = self._frozen[name], self._precisions.get(name, "int8")
        self._progress(f"converting '{name}'" + f" to {precision}" * (precision != "int8"))
        step = quantize_step(self._converter, node, precision)
        data = quantize_to_seams(step, self._calibrated[name], pins)
        check_flatbuffer(node, data)
        if precision not in LUT_BITS:
            return data
        return with_tables(data, LUT_BITS[precision], self._activations.inputs(name))

    def _pins(self, name: str) -> dict[Side, TensorSpec] | None:
        """Return what a node's ends must be, or None while that is not settled."""
        pins: dict[Side, TensorSpec] = {}
        source, target = self._input_class.get(name), self._output_class.get(name)
        if source is not None:
            if source.name not in self._settled:
                return None
            pins["input"] = self._settled[source.name]
        if target is not None:
            if target.name in self._settled:
                pins["output"] = self._settled[target.name]
            elif len(target.producers) > 1:
                return None
        return pins

    def _open_circle(self) -> None:
        """Take the first step that only float activations allow."""
        several = [seam for seam in self._open_classes() if len(seam.producers) > 1]
        if several:
            self._settle(several[0])
        else:
            self._calibrate(next(name for name in self._frozen if name not in self._calibrated))


def _check_range(name: str, found: tuple[float, float]) -> None:
    low, high = found
    if not (np.isfinite(low) and np.isfinite(high)):
        raise CalibrationError(
            f"Node '{name}' must give finite numbers, received outputs from {low} to {high}. "
            "Train the tree anew: its weights or its activations overflow."
        )
    if low == high == 0:
        raise CalibrationError(
            f"Node '{name}' must give outputs that vary, received 0 for every sample. It is dead, "
            "e.g. behind a ReLU: train it longer, or leave it out of the paths."
        )


def _joined(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
