"""What a bundle is made of: nodes, seams, tasks, and the scores and golden vectors of each task.

Values only. Here stands no reading or writing of files (`folder.py`), no JSON
(`manifest.py`) and no comparison of one part with another (`checks.py`). `quantize.bundle`
gives every name of this file again.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from quantize.interpreter import ArenaRecording
    from quantize.tensor_spec import TensorSpec

FORMAT = "keras-tree bundle"
"""The mark by which a manifest is known."""

FORMAT_VERSION = 1
"""Version of the folder's layout and of the manifest's fields, apart from the library's."""


class BundleError(ValueError):
    """A bundle that cannot be written, is damaged or does not fit together; says what is wrong."""


@dataclass(frozen=True)
class InputNormalization:
    """How a raw sample becomes the trunk's input: `network input = raw * scale + offset`.

    Args:
        scale: Factor of the raw value, e.g. 1/255 for 8-bit pixels. 1 when the samples are used as
            they are.
        offset: Added after the factor, in the unit of the network's input.
    """

    scale: float = 1.0
    offset: float = 0.0

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Return the network's input (float32) for raw samples (any number type, same shape)."""
        return (np.asarray(raw, np.float64) * self.scale + self.offset).astype(np.float32)


@dataclass(frozen=True)
class Node:
    """One stored int8 flatbuffer.

    Args:
        name: The node's name in the tree; also the name of its file.
        data: The `.tflite` file's bytes.
        unstripped_bytes: Length of the flatbuffer before the lossless strip, as the converter wrote
            it and the precision changed it.
        parameters: Weights and biases of the Keras model.
        macs: Multiply-accumulates of one inference.
        input: Shape (batch 1 first), scale and zero point of the one input tensor.
        output: The same of the one output tensor.
        operators: Distinct operator names, sorted.
        arena: What TensorFlow Lite Micro recorded when it allocated the node on a 64-bit host, or
            None where its wheel is not installed.
        source_sha256: Hex digest of what the node was made of, its layers and float weights, or
            None where that is not known. A node of an equal digest need not be converted again.
        precision: How weights and activations are stored, one of `PRECISIONS`.
    """

    name: str
    data: bytes = field(repr=False)
    unstripped_bytes: int
    parameters: int
    macs: int
    input: TensorSpec
    output: TensorSpec
    operators: tuple[str, ...]
    arena: ArenaRecording | None = None
    source_sha256: str | None = None
    precision: str = "int8"

    @property
    def rom_bytes(self) -> int:
        """Flash the flatbuffer takes: its length."""
        return len(self.data)

    @property
    def sha256(self) -> str:
        """Hex digest of the flatbuffer's bytes."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Seam:
    """The tensor between neighbouring nodes: one shape, one scale and one zero point on every side.

    Args:
        name: Name of the seam, unique in the bundle.
        shape: Shape of the tensor, batch 1 first.
        scale: The scale, exactly a float32 value.
        zero_point: The zero point, -128 to 127.
        producers: Nodes whose output is this tensor.
        consumers: Nodes whose input is this tensor.
    """

    name: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int
    producers: tuple[str, ...]
    consumers: tuple[str, ...]

    @property
    def contract(self) -> str:
        """What both sides agree on, as text, e.g. `int8;1,8,8,16;3d4ccccd;-128`.

        The fields are type, shape, the bits of the float32 scale in hex, and zero point.
        """
        shape = ",".join(str(length) for length in self.shape)
        return f"int8;{shape};{struct.pack('>f', self.scale).hex()};{self.zero_point}"

    @property
    def contract_sha256(self) -> str:
        """Hex digest of `contract` in ASCII; where it is equal, nodes may be exchanged."""
        return hashlib.sha256(self.contract.encode("ascii")).hexdigest()


@dataclass(frozen=True)
class Score:
    """What int8 keeps of one task's float model, measured on given samples.

    `fidelity` rounds values to six digits and ratios to 0.01 dB.

    Args:
        metric: "accuracy" (a share of 1) or "mae" (mean absolute error in the unit of the output).
        float_value: The metric of the Keras model; NaN where no sample is labelled.
        int8_value: The metric of the composed int8 nodes.
        samples: Samples with a label, over which both values are taken.
        agreement: Share of predictions in which int8 and float agree, over all samples, labelled or
            not: the same class, or for "mae" an output within one step (one LSB) of int8's.
        sqnr_db: Power of the float output over the power of the int8 output's error, in dB. `inf`
            where the outputs are equal, `-inf` where the float output is zero throughout and int8's
            is not.
        largest_error: Largest absolute difference of the dequantised output, in the unit of the
            output.
        weakest_node: The node with the smallest entry of `node_sqnr_db`, or None where no node
            loses anything.
        node_sqnr_db: For each node of the path, in its order: the signal to noise ratio that this
            node loses by itself, its float model run on the same dequantised int8 input, in dB.
        backend: The interpreter that ran the nodes, "tflm" or "litert".
    """

    metric: str
    float_value: float
    int8_value: float
    samples: int
    agreement: float
    sqnr_db: float
    largest_error: float
    weakest_node: str | None
    node_sqnr_db: dict[str, float] = field(default_factory=dict)
    backend: str = "tflm"


@dataclass(frozen=True, eq=False)
class BundleTask:
    """One task of a bundle: its path, its labels, and the vectors that prove it on a device.

    Args:
        name: The task's name; also the name of its golden file.
        path: Node names in running order, trunk first.
        labels: Class names in the order of the outputs; may be empty.
        golden_inputs: Codes of the trunk's input, int8 (g, *input shape without batch).
        golden_outputs: Codes of the last node's output for them, int8 (g, *output shape without
            batch).
        score: What int8 keeps, or None where no evaluation data were given.
        golden_backend: The interpreter that computed `golden_outputs`: "tflm" (bit for bit what the
            device computes) or "litert" (within one LSB of it).
    """

    name: str
    path: tuple[str, ...]
    labels: tuple[str, ...]
    golden_inputs: np.ndarray = field(repr=False)
    golden_outputs: np.ndarray = field(repr=False)
    score: Score | None = None
    golden_backend: str = "tflm"

    def __eq__(self, other: object) -> bool:
        """Equal when every field is equal, arrays by element."""
        if not isinstance(other, BundleTask):
            return NotImplemented
        mine, theirs = vars(self).copy(), vars(other).copy()
        arrays = ("golden_inputs", "golden_outputs")
        same = all(np.array_equal(mine.pop(name), theirs.pop(name)) for name in arrays)
        return same and mine == theirs

    __hash__ = None  # type: ignore[assignment]
