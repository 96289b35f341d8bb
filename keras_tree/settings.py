"""The settings of `Tree.compile`, checked before any work.

Schedules are checked in `schedules.py`.
"""

from collections.abc import Mapping
from typing import Any

import keras

from keras_tree.tasks import near_names


def check_settings(steps_per_execution: Any, jit_compile: Any) -> None:
    """Refuse settings that are neither "auto" nor of the right kind."""
    whole = isinstance(steps_per_execution, int) and not isinstance(steps_per_execution, bool)
    if steps_per_execution != "auto" and not (whole and steps_per_execution >= 1):
        raise ValueError(
            "`steps_per_execution` must be a whole number of at least 1, or 'auto'. Received: "
            f"{steps_per_execution!r}. Leave it out for 'auto'."
        )
    if jit_compile != "auto" and not isinstance(jit_compile, bool):
        raise ValueError(
            f"`jit_compile` must be True, False or 'auto'. Received: {jit_compile!r}. Leave it out "
            "for 'auto'."
        )


def as_optimizer(optimizer: Any) -> keras.optimizers.Optimizer:
    """Return the optimizer itself, or the one of that name or configuration."""
    if isinstance(optimizer, str):
        names = [name for name in dir(keras.optimizers) if name[0].isupper()]
        known = {name.lower(): name for name in names}
        if optimizer.lower() not in known:
            raise ValueError(
                f"`optimizer` must be a Keras optimizer. Received: {optimizer!r}. "
                f"{near_names(optimizer.lower(), known)}"
            )
    elif not isinstance(optimizer, keras.optimizers.Optimizer | Mapping):
        raise ValueError(
            "`optimizer` must be a Keras optimizer or its name. Received: "
            f"{optimizer!r}. Pass for example 'adam'."
        )
    return keras.optimizers.get(optimizer)
