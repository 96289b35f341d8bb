"""Training a tree's nodes for the form that they are stored in.

Belongs here: recipes, the two backends that train by them, and the removal of filters. The verb
that users call is `quantize.aware_training.tune`.
"""
