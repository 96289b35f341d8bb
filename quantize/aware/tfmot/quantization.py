"""The stage "quantize": fake quantization of kernels and activations through tfmot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quantize.aware.tfmot.clustering import CLUSTERED
from quantize.aware.tfmot.fake_quantization import (
    CUSTOM_OBJECTS,
    KernelConfig,
    KernelQuantizer,
    Mode,
    PointConfig,
    RangeQuantizer,
    Scheme,
)
from quantize.aware.tfmot.flat_model import FlatModel, Values
from quantize.aware.tfmot.importing import load
from quantize.aware.tfmot.parts import Part
from quantize.aware.tfmot.placement import KERNELS, Placement, Range, place
from quantize.aware.tfmot.pruning import PRUNED
from quantize.aware.tfmot.ranges import Seam, find_seams, int8_sides, settle
from quantize.aware.tfmot.stages import Setting, variables_by_node

tf_keras, tfmot = load()

_CONVOLUTIONS = frozenset({"Conv1D", "Conv2D"})
_DEPTHWISE = frozenset({"DepthwiseConv1D", "DepthwiseConv2D"})


class QuantizationStage:
    """A model that computes as the int8 graph will.

    Args:
        setting: The training.
        values: The weights to begin with; their zeros and clusters are kept where the recipe
            pruned or clustered.
    """

    def __init__(self, setting: Setting, values: Values) -> None:
        self._setting = setting
        self._seams = find_seams(setting.nodes, setting.paths.values())
        self._placement = _placement(setting, self._seams)
        self.flat = self._quantized(values)
        self.mode = Mode()
        self.is_calibrated = False
        self._points: dict[str, RangeQuantizer] = {}
        self._kernels: dict[str, KernelConfig] = {}
        for name, layer in self.flat.layers().items():
            config = getattr(layer, "quantize_config", None)
            if config is not None:
                config.quantizer.mode = self.mode
            if isinstance(config, KernelConfig):
                self._kernels[name] = config
            elif config is not None:
                self._points[name] = config.quantizer

    @property
    def ranges(self) -> dict[str, Range]:
        """The ranges in use, by node and tensor ("trunk/input", "trunk/3")."""
        names = {
            point.name: f"{node}/{point.name.rpartition('_')[2]}"
            for node, tensors in self._placement.nodes.items()
            for point in tensors.points.values()
        }
        return {names[name]: quantizer.range for name, quantizer in self._points.items()}

    def calibrate(self, record: Callable[[], None]) -> None:
        """Set the ranges.

        Args:
            record: Runs the samples through the model, in inference mode and `mode.recording`.
        """
        for quantizer in self._points.values():
            quantizer.begin_recording()
        self.mode.recording = True
        try:
            record()
        finally:
            self.mode.recording = False
        seen = {name: quantizer.seen for name, quantizer in self._points.items()}
        for name, (low, high) in settle(self._seams, self._placement, seen).items():
            if name in self._points:
                self._points[name].set_range(low, high)
        self.is_calibrated = True

    def variables(self) -> dict[str, list[Any]]:
        """Return the variables that training moves, by node."""
        return variables_by_node(self._setting, self.flat, self._float_kernels())

    def before_step(self, step: int) -> None:
        """Do nothing."""

    def after_step(self, step: int) -> None:
        """Do nothing."""

    def values(self) -> Values:
        """Return the float weights, with zeros and clusters exact."""
        layers, found = self.flat.layers(), {}
        for name, (_, part, _) in self._setting.parts().items():
            if part.weights:
                found[name] = [self._value(name, layers[name], weight) for weight in part.weights]
        return found

    def _value(self, name: str, layer: Any, weight: str) -> np.ndarray:
        config = self._kernels.get(name)
        if config is not None and weight == KERNELS[config.quantizer.kind]:
            return np.asarray(config.quantizer.kept(config.variable.value()))
        return np.asarray(getattr(getattr(layer, "layer", layer), weight))

    def _float_kernels(self) -> dict[tuple[str, str], list[Any]]:
        return {
            (name, KERNELS[config.quantizer.kind]): [config.variable]
            for name, config in self._kernels.items()
        }

    def _quantized(self, values: Values) -> FlatModel:
        """Return the model with tfmot's wrappers around kernels and points."""
        configs = self._configs(values)
        flat = self._setting.plain(values, self._placement)
        if not configs:
            return flat  # nothing is quantized, which `quantize_apply` would refuse
        annotate = tfmot.quantization.keras.quantize_annotate_layer

        def wrap(layer: Any) -> Any:
            config = configs.get(layer.name)
            return layer if config is None else annotate(layer, config)

        annotated = flat.cloned(wrap)
        with tfmot.quantization.keras.quantize_scope(CUSTOM_OBJECTS):
            model = tfmot.quantization.keras.quantize_apply(annotated.model, scheme=Scheme())
        return FlatModel(model, flat.starts)

    def _configs(self, values: Values) -> dict[str, Any]:
        """Return the config of every layer that is quantized, by its name."""
        points = {
            point.name: PointConfig()
            for tensors in self._placement.nodes.values()
            for point in tensors.points.values()
        }
        kernels = {
            name: KernelConfig(**self._kernel(name, part, values[name][0].shape))
            for name, (node, part, _) in self._setting.parts().items()
            if part.kind in KERNELS and self._setting.nodes[node].fake_quantized
        }
        return {**points, **kernels}

    def _kernel(self, name: str, part: Part, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return the arguments of a kernel's quantizer."""
        recipe, (node, _, is_trained) = self._setting.recipe, self._setting.parts()[name]
        is_narrow = self._setting.nodes[node].trained and _has_int4_form(part, shape)
        return KernelQuantizer(
            num_bits=recipe.weight_bits if is_narrow else 8,
            kind=part.kind,
            keeps_zeros=is_trained and recipe.pruning is not None and part.kind in PRUNED,
            keeps_clusters=is_trained and recipe.clustering is not None and part.kind in CLUSTERED,
        ).get_config()


def _has_int4_form(part: Part, shape: tuple[int, ...]) -> bool:
    """Whether a kernel can be stored in int4, by the rule of `quantize.precision.int4`.

    Args:
        part: The layer.
        shape: Of its kernel; a depthwise one ends in (channels, multiplier).
    """
    if part.kind in _CONVOLUTIONS:
        return bool(part.config.get("groups", 1) == 1)
    if part.kind not in _DEPTHWISE:
        return False
    channels, multiplier = shape[-2:]
    is_dilated = bool((np.ravel(part.config["dilation_rate"]) != 1).any())
    return channels % 2 == 0 or (multiplier == 1 and not is_dilated)


def _placement(setting: Setting, seams: tuple[Seam, ...]) -> Placement:
    sides = int8_sides(setting.nodes, seams)
    starts = {path[0] for path in setting.paths.values()}
    inside = [name for name, node in setting.nodes.items() if node.fake_quantized]
    return place(
        setting.plans,
        inside,
        [name for name, side in sides if side == "input" and name in starts],
        [name for name, side in sides if side == "output"],
    )
