"""The `.keras` file of a tree: written whole or not at all, and read back exactly.

What Keras's own format forgets stands here too: which single variables are frozen, and the states
of random generators.
"""

import contextlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from keras_tree.tree import Tree

REGISTERED_NAME = "keras_tree>Tree"
ENTRIES = ("config.json", "metadata.json", "model.weights.h5")


class TreeFileError(ValueError):
    """A file that is not, or no longer, the `.keras` file of a tree."""


def load(
    path: str | os.PathLike[str],
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> "Tree":
    """Return the tree that `Tree.save` wrote, with its optimizer's state.

    `keras.saving.load_model` reads the same file; this checks it first and says what is wrong.

    Args:
        path: The `.keras` file.
        custom_objects: Layers, losses and metrics of your own by name, where they are not
            registered.
        compile: Whether to read the settings and the optimizer too.
        safe_mode: Whether to refuse files that hold Python code (Lambda layers).

    Raises:
        FileNotFoundError: If there is no such file.
        TreeFileError: If the file is damaged, or holds something other than a tree.
    """
    check_file(Path(path))
    return keras.saving.load_model(
        path, custom_objects=custom_objects, compile=compile, safe_mode=safe_mode
    )


def check_file(path: Path) -> None:
    """Refuse a file that is missing, damaged, or not of a tree."""
    if not path.exists():
        raise FileNotFoundError(
            f"`path` must be the .keras file of a tree. Received: {path}, which does not exist. "
            f"{files_beside(path)}"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            missing = [name for name in ENTRIES if name not in archive.namelist()]
            if missing:
                raise TreeFileError(
                    f"{path} must be the .keras file of a tree. Received: an archive without "
                    f"{', '.join(missing)}. Name a file that Tree.save wrote."
                )
            damaged = archive.testzip()
            text = archive.read("config.json") if damaged is None else b""
    except (zipfile.BadZipFile, zlib.error, IsADirectoryError, EOFError) as error:
        raise TreeFileError(
            f"{path} must be a .keras file. Received: no whole .keras archive ({error}); it is cut "
            "short, damaged or something else. Name a file that Tree.save wrote, or a backup."
        ) from error
    if damaged is not None:
        raise TreeFileError(
            f"{path} is damaged. Received: wrong bytes in its entry {damaged}. Use a backup."
        )
    check_class(path, text)


def check_class(path: Path, text: bytes) -> None:
    """Refuse the configuration, as JSON, of a model that is not a tree."""
    try:
        config = json.loads(text)
        name, kind = config["registered_name"], config["class_name"]
    except (ValueError, TypeError, KeyError) as error:
        raise TreeFileError(
            f"{path} must hold the configuration of a tree. Received a config.json that is none "
            f"({type(error).__name__}: {error}). Name a file that Tree.save wrote."
        ) from error
    if name != REGISTERED_NAME:
        raise TreeFileError(
            f"{path} must hold a tree. Received: a Keras model of class {kind!r}. Read it with "
            "keras.saving.load_model, and make a tree of it with keras_tree.cut_at_outputs or "
            "keras_tree.cut_at_layer."
        )


def files_beside(path: Path) -> str:
    """Return a sentence that names the .keras files in the folder of `path`."""
    if not path.parent.is_dir():
        return f"The folder {path.parent} does not exist either."
    names = sorted(other.name for other in path.parent.glob("*.keras"))
    listed = ", ".join(names) if names else "none"
    return f".keras files in {path.parent}: {listed}."


def write_whole(
    path: str | os.PathLike[str], write: Callable[[str], None], overwrite: bool = True
) -> None:
    """Write a `.keras` file so that `path` holds the old file or the whole new one, never a part.

    Args:
        path: Where the file goes.
        write: Writes the file to the temporary path it gets, in the folder of `path`.
        overwrite: Whether an existing file may be replaced.

    Raises:
        ValueError: If the name does not end in `.keras`.
        FileExistsError: If the file exists and may not be replaced.
        FileNotFoundError: If its folder does not exist.
    """
    target = Path(os.path.realpath(path))
    if target.suffix != ".keras":
        raise ValueError(
            f"A tree is saved as a `.keras` file. Received: {os.fspath(path)!r}. Name it for "
            f"example {Path(path).with_suffix('.keras').name!r}."
        )
    if target.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists and `overwrite` is False. Choose another name, or pass overwrite=True."
        )
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"The folder of {path} must exist. Received: {target.parent}, which does not. "
            "Create it."
        )
    with tempfile.TemporaryDirectory(prefix=f".{target.stem}-", dir=target.parent) as folder:
        part = Path(folder, target.name)
        write(str(part))
        with part.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(part, target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make a renaming in `folder` last through a power cut, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def tree_config(tree: "Tree") -> dict[str, Any]:
    """Return nodes, frozen flags, paths and tasks of a tree as plain data."""
    nodes = tree.nodes
    return {
        "name": tree.name,
        "nodes": {name: keras.saving.serialize_keras_object(nodes[name]) for name in nodes},
        "trainable": {name: trainable_flags(nodes[name]) for name in nodes},
        "paths": {task: list(path) for task, path in tree.paths.items()},
        "tasks": [task.to_config() for task in tree.tasks.values()],
    }


def trainable_flags(node: keras.Model) -> dict[str, list[bool]]:
    """Return which layers and which variables of a node are trainable, in the node's own order.

    Keras stores the flag of each layer, but reading a model sets its own flag on all layers inside
    it.
    """
    return {
        "layers": [bool(layer.trainable) for layer in every_layer(node)],
        "variables": [bool(variable.trainable) for variable in node.weights],
    }


def set_trainable_flags(node: keras.Model, flags: Mapping[str, Iterable[bool]]) -> None:
    """Set the flags that `trainable_flags` returned."""
    for layer, flag in zip(every_layer(node), flags["layers"], strict=True):
        layer.trainable = flag
    for variable, flag in zip(node.weights, flags["variables"], strict=True):
        if variable.trainable != flag:
            variable.trainable = flag


def every_layer(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the model and every layer in it, a layer always before those inside it."""
    return list(model._flatten_layers())


def random_states(nodes: Iterable[keras.Model]) -> list[keras.Variable]:
    """Return the states of the random generators (of Dropout, for one), which are no weights."""
    states = []
    for node in nodes:
        weights = {id(weight) for weight in node.weights}
        states += [variable for variable in node.variables if id(variable) not in weights]
    return states


def store_random_states(nodes: Iterable[keras.Model], store: Any) -> None:
    """Store the states of the random generators of all nodes, in order."""
    for index, state in enumerate(random_states(nodes)):
        store[str(index)] = state.numpy()


def read_random_states(nodes: Iterable[keras.Model], store: Any) -> None:
    """Read the states that `store_random_states` stored.

    Raises:
        ValueError: If there are more or fewer of them.
    """
    states = random_states(nodes)
    if len(store.keys()) != len(states):
        raise ValueError(
            f"The file must hold {len(states)} random states, as this tree does. Received: "
            f"{len(store.keys())}. Load it into the tree it was saved from, or one built alike."
        )
    for index, state in enumerate(states):
        state.assign(store[str(index)])
