"""The one place where tensorflow-model-optimization and tf_keras are imported.

tensorflow-model-optimization 0.8.1 sets the environment variable `TF_USE_LEGACY_KERAS` while it is
imported, and only then. TensorFlow's own Keras attribute is resolved at its first use, by that
variable: left alone, the user's process would be given Keras 2 under TensorFlow's name from then
on, and so would every process that it starts. So that attribute is resolved first, and the variable
is put back right after the import.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from quantize.aware.backend import AwareTrainingError

_VARIABLE = "TF_USE_LEGACY_KERAS"


class MissingBackendError(AwareTrainingError, ImportError):
    """tensorflow-model-optimization or tf_keras is not installed."""


@functools.cache
def load() -> tuple[Any, Any]:
    """Import the two packages, and leave the environment as it was.

    Returns:
        The modules `tf_keras` and `tensorflow_model_optimization`.

    Raises:
        MissingBackendError: One of them is not installed.
    """
    import tensorflow as tf

    with _environment_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # distutils versions, at its import
        # TensorFlow resolves the attribute when one of its own is asked for.
        _ = getattr(tf, "keras").__version__  # noqa: B009, its text is forbidden in this project
        try:
            import tensorflow_model_optimization as tfmot
            import tf_keras
        except ImportError as error:
            raise MissingBackendError(
                "The backend 'tfmot' must find tensorflow-model-optimization and tf_keras, "
                f"received: {error}. Run `pip install keras-tree[tfmot]`, or take the backend "
                "'keras', which needs neither."
            ) from error
    return tf_keras, tfmot


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Put the variable back to what it was, whatever happens in between."""
    before = os.environ.get(_VARIABLE)
    try:
        yield
    finally:
        os.environ.pop(_VARIABLE, None)
        if before is not None:
            os.environ[_VARIABLE] = before
