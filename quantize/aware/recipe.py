"""A recipe: what a node's weights are trained towards, in which stages, and for how long.

Values only. Here stands no training; both backends (`keras3/`, `tfmot/`) take the same recipes.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Literal

Stage = Literal["prune", "cluster", "quantize"]


@dataclass(frozen=True)
class Pruning:
    """Magnitude pruning: the least weights of the kernels become zero, by and by.

    Kernels of one input channel, depthwise ones and a first one on grey images, are left whole.

    The share of zeros at step t of n follows the polynomial schedule of "To prune, or not to prune"
    (Zhu and Gupta, arXiv:1710.01878, section 3), with power 3: it rises from `initial_sparsity` to
    `final_sparsity` over the first `ramp` of the stage and stays there. Zeros by themselves save no
    byte of a flatbuffer; clustering or the removal of whole filters does.

    Args:
        final_sparsity: Share of zeros at the end, 0 to 1 exclusive.
        initial_sparsity: Share of zeros at the start, 0 to `final_sparsity`.
        ramp: Share of the stage's steps over which it rises, above 0 and at most 1.
        pattern: "unstructured"; "2:4", two zeros in every four neighbours along the input channels;
            or (rows, columns), blocks of a kernel flattened to (inputs, outputs) that are pruned
            together. "2:4" has sparsity 0.5 whatever `final_sparsity` says.

    Raises:
        ValueError: A figure is out of its range, or the pattern is unknown.
    """

    final_sparsity: float = 0.5
    initial_sparsity: float = 0.0
    ramp: float = 0.6
    pattern: Literal["unstructured", "2:4"] | tuple[int, int] = "unstructured"

    def __post_init__(self) -> None:
        if not 0 < self.final_sparsity < 1:
            raise ValueError(
                f"`final_sparsity` must lie between 0 and 1, received {self.final_sparsity}. "
                "0.5 prunes half of the weights."
            )
        if not 0 <= self.initial_sparsity <= self.final_sparsity:
            raise ValueError(
                f"`initial_sparsity` must lie between 0 and `final_sparsity` "
                f"({self.final_sparsity}), received {self.initial_sparsity}. Leave it out for 0."
            )
        if not 0 < self.ramp <= 1:
            raise ValueError(
                f"`ramp` must be above 0 and at most 1, received {self.ramp}. Leave it out for 0.6."
            )
        block = isinstance(self.pattern, tuple) and len(self.pattern) == 2
        if self.pattern not in ("unstructured", "2:4") and not (
            block and all(isinstance(side, int) and side >= 1 for side in self.pattern)
        ):
            raise ValueError(
                "`pattern` must be 'unstructured', '2:4' or a block (rows, columns), received "
                f"{self.pattern!r}. Write such as `pattern=(1, 4)`."
            )


@dataclass(frozen=True)
class Clustering:
    """Weight clustering: every kernel shares few values ("Deep Compression", arXiv:1510.00149).

    Args:
        bits: 2 to 4; a kernel, or each of its output channels, has at most 2**bits values.

    Raises:
        ValueError: `bits` is out of its range.
    """

    bits: int = 4

    def __post_init__(self) -> None:
        if self.bits not in (2, 3, 4):
            raise ValueError(
                f"`bits` must be 2, 3 or 4, received {self.bits}. 4 bits are 16 values."
            )


@dataclass(frozen=True)
class Recipe:
    """What is trained, in the order pruning, clustering, quantization.

    Args:
        pruning: How weights are pruned, None for not at all.
        clustering: How weights are clustered, None for not at all.
        quantize: Whether a last stage trains with fake quantization; what was pruned or clustered
            before stays so.
        weight_bits: Bits of the convolutions' fake-quantized kernels, 8 or 4; dense kernels have 8.
        epochs: Passes over the longest dataset, of every stage, at least 1.
        learning_rate: Of Adam, above 0.
        batch_size: Samples of one task in a step, at least 1.
        batch_norm: "frozen" uses the trained statistics and leaves gamma and beta as they are;
            "live" goes on training all four.
        seed: Of the order of the samples and of dropout.

    Raises:
        ValueError: Nothing is to be done, a figure is out of its range, or int4 kernels are to be
            clustered.
    """

    pruning: Pruning | None = None
    clustering: Clustering | None = None
    quantize: bool = True
    weight_bits: int = 8
    epochs: int = 4
    learning_rate: float = 1e-4
    batch_size: int = 32
    batch_norm: Literal["frozen", "live"] = "frozen"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in (("pruning", Pruning), ("clustering", Clustering)):
            given = getattr(self, name)
            if given is not None and not isinstance(given, kind):
                raise ValueError(
                    f"`{name}` must be a {kind.__name__} or None, received {given!r}. Write such "
                    f"as `{name}={kind.__name__}()`."
                )
        if not self.stages:
            raise ValueError(
                "a recipe must prune, cluster or quantize, received none of them. Leave `quantize` "
                "at True."
            )
        if self.weight_bits not in (4, 8):
            raise ValueError(f"`weight_bits` must be 8 or 4, received {self.weight_bits}.")
        if self.weight_bits == 4 and (self.clustering or not self.quantize):
            raise ValueError(
                "`weight_bits=4` must go with `quantize=True` and no clustering: 16 values are the "
                "int4 grid already. Leave out `clustering`, or `weight_bits`."
            )
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
            number = getattr(self, name)
            if not isinstance(number, Integral) or number < least:
                raise ValueError(
                    f"`{name}` must be a whole number, at least {least}, received {number!r}. "
                    f"Leave it out for {getattr(type(self), name)}."
                )
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(
                f"`learning_rate` must be above 0 and finite, received {self.learning_rate}. "
                "Leave it out for 1e-4."
            )
        if self.batch_norm not in ("frozen", "live"):
            raise ValueError(
                f"`batch_norm` must be 'frozen' or 'live', received {self.batch_norm!r}."
            )

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages, in order."""
        wanted: dict[Stage, bool] = {
            "prune": self.pruning is not None,
            "cluster": self.clustering is not None,
            "quantize": self.quantize,
        }
        return tuple(stage for stage, is_wanted in wanted.items() if is_wanted)

    @property
    def precision(self) -> str:
        """The precision (`precision/choice.py`) that the trained weights are stored in."""
        if self.clustering is not None:
            return f"lut{self.clustering.bits}"
        return "int4" if self.weight_bits == 4 else "int8"


RECIPES: dict[str, Recipe] = {
    "qat": Recipe(),
    "int4": Recipe(weight_bits=4),
    "prune": Recipe(pruning=Pruning(), quantize=False),
    "cluster": Recipe(clustering=Clustering(), quantize=False),
    "pqat": Recipe(pruning=Pruning()),
    "cqat": Recipe(clustering=Clustering()),
    "pcqat": Recipe(pruning=Pruning(), clustering=Clustering()),
}
"""The usual recipes by the names that tensorflow-model-optimization gives them."""


def recipe_of(recipe: Recipe | str, **changes: object) -> Recipe:
    """Return a recipe by its name, or the one given.

    Args:
        recipe: A name of `RECIPES`, or a recipe.
        changes: Fields to replace.

    Raises:
        ValueError: There is no such recipe.
    """
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            near = difflib.get_close_matches(recipe, RECIPES, n=1)
            advice = f"Did you mean '{near[0]}'?" if near else f"They are {', '.join(RECIPES)}."
            raise ValueError(
                f"`recipe` must be a Recipe or one of {', '.join(RECIPES)}; received {recipe!r}. "
                f"{advice}"
            )
        recipe = RECIPES[recipe]
    if not isinstance(recipe, Recipe):
        raise ValueError(
            f"`recipe` must be a Recipe or one of {', '.join(RECIPES)}; received {recipe!r}. "
            "Write such as `Recipe(epochs=8)`."
        )
    return replace(recipe, **changes)  # type: ignore[arg-type]
