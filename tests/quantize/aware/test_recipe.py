"""Recipes: what is wrong in one is told when it is written, not when it is trained."""

from typing import Any

import numpy as np
import pytest

from quantize.aware.recipe import RECIPES, Clustering, Pruning, Recipe, recipe_of


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"epochs": 0},
            "`epochs` must be a whole number, at least 1, received 0. Leave it out for 4",
        ),
        ({"epochs": 1.5}, "`epochs` must be a whole number, at least 1, received 1.5"),
        ({"epochs": "4"}, "`epochs` must be a whole number, at least 1, received '4'"),
        ({"batch_size": 0.5}, "`batch_size` must be a whole number"),
        ({"seed": -1}, "`seed` must be a whole number, at least 0, received -1"),
        ({"learning_rate": 0}, "`learning_rate` must be above 0 and finite, received 0"),
        ({"learning_rate": float("inf")}, "`learning_rate` must be above 0 and finite"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be above 0 and finite"),
        ({"pruning": 0.5}, "`pruning` must be a Pruning or None, received 0.5"),
        ({"clustering": 4}, "`clustering` must be a Clustering or None, received 4"),
        ({"weight_bits": 3}, "`weight_bits` must be 8 or 4"),
        ({"weight_bits": 4, "clustering": Clustering()}, "16 values are the int4 grid already"),
        ({"quantize": False}, "must prune, cluster or quantize, received none"),
        ({"batch_norm": "free"}, "`batch_norm` must be 'frozen' or 'live', received 'free'"),
    ],
)
def test_a_wrong_recipe_is_refused_where_it_is_written(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**wrong)


@pytest.mark.parametrize("wrong", [None, Recipe, 4])
def test_what_is_no_recipe_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="`recipe` must be a Recipe or one of qat, int4"):
        recipe_of(wrong)


def test_whole_numbers_of_numpy_will_do() -> None:
    assert Recipe(epochs=np.int64(2), seed=np.int32(3)) == Recipe(epochs=2, seed=3)


def test_stages_and_precisions_of_the_named_recipes() -> None:
    assert {name: (recipe.stages, recipe.precision) for name, recipe in RECIPES.items()} == {
        "qat": (("quantize",), "int8"),
        "int4": (("quantize",), "int4"),
        "prune": (("prune",), "int8"),
        "cluster": (("cluster",), "lut4"),
        "pqat": (("prune", "quantize"), "int8"),
        "cqat": (("cluster", "quantize"), "lut4"),
        "pcqat": (("prune", "cluster", "quantize"), "lut4"),
    }
    assert recipe_of("cluster", clustering=Clustering(bits=2)).precision == "lut2"
    assert recipe_of(Recipe(pruning=Pruning()), epochs=7).epochs == 7
