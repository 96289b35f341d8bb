"""Load what a command works on: TensorFlow without its greetings, a user's modules, a tree.

Only the commands that train or convert need it. A report on stdout and errors on stderr are what a
user of a command reads; TensorFlow's notes on CPU features and missing GPUs are neither.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.commands.usage import UsageError, as_usage_error

if TYPE_CHECKING:
    from keras_tree import Tree


def load_tensorflow() -> None:
    """Import TensorFlow and Keras with file descriptor 2 turned aside.

    TensorFlow 2.21 writes its notes from C++ before it reads `TF_CPP_MIN_LOG_LEVEL`, so the
    variable alone keeps only the later ones away. An import that fails still raises.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from quantize.runtimes.stderr_capture import captured_stderr

    with captured_stderr():
        import keras  # noqa: F401
        import tensorflow  # noqa: F401


def import_modules(names: list[str]) -> None:
    """Import modules of the user's, also from the current folder.

    Raises:
        UsageError: A module cannot be found or fails.
    """
    if names and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            raise UsageError(
                f"`--import` must name a module that can be imported from here, '{name}' cannot: "
                f"{type(error).__name__}: {error}. Check the name, without `.py`, and the folder."
            ) from error


def load_tree(path: Path) -> Tree:
    """Load a tree.

    Raises:
        UsageError: The file is not a tree's, or needs classes that are not registered.
    """
    from keras_tree import load
    from keras_tree.saving import TreeFileError

    with as_usage_error(TreeFileError, OSError):
        try:
            return load(path)
        except TreeFileError:
            raise
        except (TypeError, ValueError, ImportError) as error:
            # Keras says in its first line which class it misses; the rest is the whole config.
            told = str(error).strip().splitlines()[0][:200]
            raise UsageError(
                f"'{path}' must be a tree that can be built here, Keras says: {told} If it has "
                "layers of your own, name the module that registers them: `--import my_layers`."
            ) from error
