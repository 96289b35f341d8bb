"""Define and train a tree of Keras models: one trunk, a branch per task, a dataset per task."""
