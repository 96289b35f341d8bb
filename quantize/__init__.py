"""Turn a trained tree into a bundle: one int8 .tflite file per node, with exact seams.

Example:
    >>> import quantize
    >>> samples = {task: x[:200] for task, (x, y) in training_data.items()}
    >>> bundle = quantize.quantize(tree, samples, evaluation=test_data)
    >>> bundle.tasks["digit"].score.int8_value
    0.984
    >>> bundle.save("bundle")

Importing it loads neither TensorFlow nor Keras; `quantize.quantize` does.
"""

from quantize.aware.backend import AwareTrainingError
from quantize.aware.filters import remove_filters
from quantize.aware.recipe import Clustering, Pruning, Recipe
from quantize.aware_training import Tuned, tune
from quantize.bundle import Bundle, BundleError, InputNormalization
from quantize.calibration import CalibrationError
from quantize.conversion.refusal import RefusalError
from quantize.convert import ConversionError
from quantize.fidelity import fidelity
from quantize.flatbuffer import FlatbufferError
from quantize.interpreter import InterpreterError
from quantize.post_training import quantize
from quantize.rom.budget import RomBudgetError
from quantize.rom.search import RomSearch
from quantize.seam import SeamError

__all__ = [
    "AwareTrainingError",
    "Bundle",
    "BundleError",
    "CalibrationError",
    "Clustering",
    "ConversionError",
    "FlatbufferError",
    "InputNormalization",
    "InterpreterError",
    "Pruning",
    "Recipe",
    "RefusalError",
    "RomBudgetError",
    "RomSearch",
    "SeamError",
    "Tuned",
    "fidelity",
    "quantize",
    "remove_filters",
    "tune",
]
