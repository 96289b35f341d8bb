"""Golden vectors: the .npz file of a task's int8 inputs and outputs, and the comparison with a run.

Running the nodes is in `bundle.py`.
"""

from __future__ import annotations

import io
import zipfile

import numpy as np

from quantize.storage.parts import BundleError, BundleTask

LITERT_TOLERANCE_LSB = 1
"""Largest difference of LiteRT's reference kernels from TFLM, over 14 random CNNs with 100 inputs
each (LiteRT 2.3.0; 16 of 1400 outputs differed): its fully connected kernel rounds once, TFLM's
twice."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip archive can state."""


def pack_golden(inputs: np.ndarray, outputs: np.ndarray) -> bytes:
    """Return the .npz file of golden vectors, the same bytes for the same arrays.

    `numpy.savez` is not used: nothing promises that its archives carry no date and no system.

    Args:
        inputs: Codes of the trunk's input, int8 (g, *input shape without batch).
        outputs: Codes of the last node's output, int8 (g, *output shape without batch).
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in (("inputs", inputs), ("outputs", outputs)):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            entry.create_system = 3  # Unix; otherwise the byte tells on which system it was written
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, member.getvalue())
    return file.getvalue()


def unpack_golden(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs and the outputs of a golden file, as they are in it.

    Raises:
        BundleError: It is no .npz file with the arrays `inputs` and `outputs`.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return arrays["inputs"], arrays["outputs"]
    except (ValueError, KeyError, EOFError, OSError, TypeError, zipfile.BadZipFile) as error:
        raise BundleError(
            "it must be an .npz file with the arrays `inputs` and `outputs`; reading it gave "
            f"{type(error).__name__}: {error}. Write the bundle anew."
        ) from error


def compare_golden(task: BundleTask, outputs: np.ndarray, backend: str) -> None:
    """Raise unless a run's outputs are the task's golden outputs.

    Args:
        task: The task, with its golden vectors.
        outputs: int8 (g, *output shape without batch) that its path gave for the golden inputs.
        backend: The interpreter that ran it; between different ones an LSB of difference is taken
            for equal, since their fully connected kernels round differently.

    Raises:
        BundleError: Names the first element that differs.
    """
    allowed = 0 if backend == task.golden_backend else LITERT_TOLERANCE_LSB
    differences = np.abs(outputs.astype(int) - task.golden_outputs.astype(int))
    wrong = np.argwhere(differences > allowed)
    if len(wrong):
        place = tuple(int(index) for index in wrong[0])
        raise BundleError(
            f"task '{task.name}': its golden outputs must come back "
            f"{'bit for bit' if allowed == 0 else f'within {allowed} LSB'} on {backend}; vector "
            f"{place[0]}, element {place[1:]} must be {task.golden_outputs[place]} and is "
            f"{outputs[place]} ({len(wrong)} of {outputs.size} elements differ). The nodes, or the "
            "interpreter's version, are not those of the manifest: write the bundle anew."
        )
