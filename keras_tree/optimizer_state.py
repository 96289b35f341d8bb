"""The optimizer of a tree: which variables it has slots for, and how it comes to have more.

A Keras optimizer is built once, over one list of variables. A tree grows and thaws, so its
optimizer is replaced by one over more variables that carries every number of the old one on.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

# Lists that an optimizer keeps beside its slots; one holds every slot again, the other the model's
# variables.
NOT_SLOTS = frozenset({"_variables", "_trainable_variables"})


@dataclasses.dataclass
class OptimizerState:
    """The variables an optimizer has slots for, apart from Keras's tracking of attributes."""

    built_over: list[keras.Variable] = dataclasses.field(default_factory=list)


def extend(
    optimizer: keras.optimizers.Optimizer,
    built_over: Sequence[keras.Variable],
    variables: Iterable[keras.Variable],
) -> tuple[keras.optimizers.Optimizer, list[keras.Variable]]:
    """Return an optimizer with slots for `variables` too, and the list it is built over.

    Args:
        optimizer: The optimizer; it is returned itself if it knows all variables, or is not built.
        built_over: The variables it was built over, in order; empty if it is not built.
        variables: The variables it must know.

    Raises:
        ValueError: If a number of the old optimizer has no place in the new one.
    """
    known = {id(variable) for variable in built_over}
    missing = [variable for variable in variables if id(variable) not in known]
    every = [*built_over, *missing]
    if not optimizer.built:
        optimizer.build(every)
        return optimizer, every
    if not missing:
        return optimizer, every
    wider = type(optimizer).from_config(optimizer.get_config())
    keep_weight_decay(optimizer, wider, built_over)
    wider.build(every)
    carried = carry_over(optimizer, wider)
    if not {id(variable) for variable in optimizer.variables} <= carried:
        raise ValueError(
            f"The state of {type(optimizer).__name__} cannot be carried over to more variables. "
            "Received variables it was not built with. Call compile() with a new optimizer."
        )
    return wider, every


def carry_over(old: keras.optimizers.Optimizer, new: keras.optimizers.Optimizer) -> set[int]:
    """Write every number of `old` into `new`, whose variables begin with the same ones.

    Returns:
        The ids of the variables of `old` that were carried over.
    """
    carried: set[int] = set()
    for name, value in vars(old).items():
        target = getattr(new, name, None)
        if isinstance(value, keras.optimizers.Optimizer):
            carried |= carry_over(value, target)
        elif name not in NOT_SLOTS:
            slots = value if isinstance(value, list) else [value]
            targets = target if isinstance(target, list) else [target]
            for slot, place in zip(slots, targets, strict=False):
                if isinstance(slot, keras.Variable) and slot.shape == place.shape:
                    place.assign(slot)
                    carried.add(id(slot))
    return carried


def without_weight_decay(
    optimizer: keras.optimizers.Optimizer, variables: Iterable[keras.Variable]
) -> list[keras.Variable]:
    """Return those of `variables` that were excluded from weight decay.

    Keras's own configuration of an optimizer forgets them.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return [variable for variable in variables if not inner._use_weight_decay(variable)]


def keep_weight_decay(
    old: keras.optimizers.Optimizer,
    new: keras.optimizers.Optimizer,
    variables: Iterable[keras.Variable],
) -> None:
    """Exclude from the weight decay of `new` what `old` excludes: variables and name patterns."""
    old, new = (getattr(each, "inner_optimizer", each) for each in (old, new))
    pattern = getattr(old, "_exclude_from_weight_decay_pattern", None)
    excluded = without_weight_decay(old, variables)
    if excluded or pattern is not None:
        new.exclude_from_weight_decay(excluded, [pattern.pattern] if pattern is not None else None)


def addresses(
    nodes: Mapping[str, keras.Model], variables: Iterable[keras.Variable]
) -> list[tuple[str, int]]:
    """Return where each variable is: the node's name and the index among the node's weights."""
    place = {
        id(variable): (name, index)
        for name, node in nodes.items()
        for index, variable in enumerate(node.weights)
    }
    return [place[id(variable)] for variable in variables]


def variables_at(
    nodes: Mapping[str, keras.Model], places: Iterable[Sequence[Any]]
) -> list[keras.Variable]:
    """Return the variables at the places that `addresses` gave."""
    weights = {name: node.weights for name, node in nodes.items()}
    return [weights[name][index] for name, index in places]
