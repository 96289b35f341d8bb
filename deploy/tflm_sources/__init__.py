"""The sources that run a bundle on TensorFlow Lite Micro, generated from the bundle and a board.

What is the same for every bundle stands in `firmware_stubs/tflm`; the two make a firmware together.

Example:
    >>> from deploy.board import load_board
    >>> from deploy.tflm_sources import tflm_sources
    >>> from quantize.bundle import Bundle
    >>> files = tflm_sources(Bundle.load("bundle"), load_board("nano33ble"))  # doctest: +SKIP
    >>> sorted(files)  # doctest: +SKIP
    ['kt_model_config.cc', 'kt_model_config.h', 'kt_model_data.cc', ...]
"""

from deploy.tflm_sources.model import TflmSourcesError
from deploy.tflm_sources.sources import tflm_sources

__all__ = ["TflmSourcesError", "tflm_sources"]
