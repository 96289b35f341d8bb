"""Define and train a tree of Keras models: one trunk, a branch per task, a dataset per task.

Example:
    >>> import keras
    >>> image = keras.Input((8, 8, 1))
    >>> trunk = keras.Model(image, keras.layers.Conv2D(4, 3, activation="relu")(image))
    >>> features = keras.Input((6, 6, 4))
    >>> pooled = keras.layers.GlobalAveragePooling2D()(features)
    >>> digit = keras.Model(features, keras.layers.Dense(10, activation="softmax")(pooled))
    >>> tree = Tree.from_branches(
    ...     trunk, {"digit": digit}, [Task("digit", "sparse_categorical_crossentropy")])
    >>> tree.compile("adam")
    >>> tree.paths["digit"]
    ('trunk', 'digit')
"""

from keras_tree.cutting import cut_at_layer, cut_at_outputs
from keras_tree.datasets import Split, load_folder, load_npz
from keras_tree.saving import TreeFileError, load
from keras_tree.schedules import Alternating, Joint, Masked, Proportional, Schedule, Temperature
from keras_tree.tasks import Task
from keras_tree.tree import Tree

__all__ = [
    "Alternating",
    "Joint",
    "Masked",
    "Proportional",
    "Schedule",
    "Split",
    "Task",
    "Temperature",
    "Tree",
    "TreeFileError",
    "cut_at_layer",
    "cut_at_outputs",
    "load",
    "load_folder",
    "load_npz",
]
