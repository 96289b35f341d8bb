"""Define and train a tree of Keras models: one trunk, a branch per task, a dataset per task.

Example:
    tree = Tree.from_branches(trunk, {"digit": digit}, [Task("digit", "mse")])
    tree.compile()
"""

from keras_tree.tasks import Task
from keras_tree.tree import Tree

__all__ = ["Task", "Tree"]
