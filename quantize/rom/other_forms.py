"""Other forms of a bundle's nodes, one at a time: what a search measures before it combines them.

Belongs here: making one node anew while all others stay. Does not belong here: whole bundles
(`tree_conversion.py`), or what is measured of them (`losses.py`).
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from quantize.bundle import Bundle, Node
from quantize.calibration import Activations
from quantize.conversion.freezing import FrozenNode
from quantize.conversion.node_conversion import NodeConversion, NodeConverter

if TYPE_CHECKING:
    import keras

    from quantize.tree_conversion import TreeConversion


class OtherForms:
    """Forms of the nodes of one bundle.

    Args:
        conversion: The conversion that made the bundle.
        bundle: The bundle.
    """

    def __init__(self, conversion: TreeConversion, bundle: Bundle) -> None:
        self._conversion = conversion
        self._bundle = bundle
        self._activations = _SettledActivations(
            conversion.models, conversion.paths, conversion.samples, bundle
        )

    def node(self, name: str, precision: str) -> Node:
        """Return one node in another precision, with the bundle's seams.

        It is calibrated on what the bundle's nodes before it give; those behind it keep the form
        that was calibrated on the old one. What that changes is seen when a whole bundle is made.

        Args:
            name: The node.
            precision: Its precision.

        Raises:
            ConversionError, RefusalError: The node cannot have that form.
        """
        others = {other: node.data for other, node in self._bundle.nodes.items() if other != name}
        conversion = self._conversion
        converted = NodeConversion(
            {name: conversion.frozen[name]},
            conversion.paths,
            self._activations,
            conversion.converter,
            others,
            conversion.report,
            {name: precision},
        ).run()
        return conversion.node(name, converted[name], precision)


class _SettledActivations(Activations):
    """What the nodes of a finished bundle are fed with, whatever form one of them is tried in."""

    def __init__(
        self,
        models: Mapping[str, keras.Model],
        paths: Mapping[str, Sequence[str]],
        samples: Mapping[str, np.ndarray],
        bundle: Bundle,
    ) -> None:
        super().__init__(models, paths, samples)
        for name, node in bundle.nodes.items():
            super().add(name, node.data)
        self._latest: tuple[str, np.ndarray] | None = None

    def add(self, node: str, data: bytes) -> None:
        """Take nothing: the bundle's own nodes feed those behind them."""

    def inputs(self, node: str) -> np.ndarray:
        """Return what a node is fed with; remembered, as its forms are tried one after another."""
        if self._latest is None or self._latest[0] != node:
            self._latest = node, super().inputs(node)
        return self._latest[1]


class RememberingConverter:
    """A converter that answers from memory what it was asked before.

    A search asks for one node in many combinations, and a conversion takes 0.3 to 0.7 s. The answer
    depends on nothing but what is asked.

    Args:
        converter: The converter that answers the first time.
    """

    def __init__(self, converter: NodeConverter) -> None:
        self._converter = converter
        self._answers: dict[bytes, bytes] = {}

    def calibrate(self, node: FrozenNode, samples: np.ndarray) -> bytes:
        """Return the node's float flatbuffer with calibrated ranges."""
        return self._answer("calibrate", node, samples)

    def quantize(self, node: FrozenNode, calibrated: bytes) -> bytes:
        """Return the int8 flatbuffer of a calibrated one."""
        return self._answer("quantize", node, calibrated)

    def quantize_wide(self, node: FrozenNode, calibrated: bytes) -> bytes:
        """Return the flatbuffer of int16 activations of a calibrated one."""
        return self._answer("quantize_wide", node, calibrated)

    def _answer(self, step: str, node: FrozenNode, asked: Any) -> bytes:
        key = hashlib.sha256(pickle.dumps((step, node.name, node.sha256, asked))).digest()
        if key not in self._answers:
            self._answers[key] = getattr(self._converter, step)(node, asked)
        return self._answers[key]
