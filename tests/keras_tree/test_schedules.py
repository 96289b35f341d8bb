"""Which task's data a step takes: shares, names, and the way through a file."""

import keras
import numpy as np
import pytest

from keras_tree import schedules
from keras_tree.schedules import Alternating, Joint, Masked, Proportional, Temperature

SIZES = {"digit": 900, "angle": 90, "parity": 10}


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Joint(), [1 / 3, 1 / 3, 1 / 3]),
        (Alternating(), [1 / 3, 1 / 3, 1 / 3]),
        (Proportional(), [0.9, 0.09, 0.01]),
        (Masked(), [0.9, 0.09, 0.01]),
        (Temperature(1), [0.9, 0.09, 0.01]),
        (Temperature(2), np.sqrt([900, 90, 10]) / np.sqrt([900, 90, 10]).sum()),
        (Temperature(1e9), [1 / 3, 1 / 3, 1 / 3]),
        (Proportional(sizes={"parity": 4010}), [0.18, 0.018, 0.802]),
    ],
    ids=repr,
)
def test_shares(schedule: schedules.Schedule, expected: list[float]) -> None:
    shares = schedule.shares(SIZES)
    assert list(shares) == list(SIZES)
    np.testing.assert_allclose(list(shares.values()), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["alternating", "joint", "masked", "proportional", "temperature"])
def test_a_name_means_the_schedule_of_that_name(name: str) -> None:
    schedule = schedules.get(name)
    assert schedule.name == name
    assert schedules.get(type(schedule)) == schedule
    assert schedules.get(schedule) is schedule


@pytest.mark.parametrize("schedule", [Joint(), Temperature(3, sizes={"a": 5}), Masked()], ids=repr)
def test_a_schedule_is_serialized_as_keras_serializes(schedule: schedules.Schedule) -> None:
    config = keras.saving.serialize_keras_object(schedule)
    assert keras.saving.deserialize_keras_object(config) == schedule
    assert schedules.get(config) == schedule
    assert hash(schedules.get(config)) == hash(schedule)


def test_different_settings_are_different_schedules() -> None:
    assert Temperature(2) != Temperature(3)
    assert Proportional() != Masked()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.get("alternate"), "Did you mean 'alternating'"),
        (lambda: schedules.get(3), "Received: 3"),
        (lambda: schedules.get(["joint"]), "Received: \\['joint'\\]"),
        (lambda: Temperature(0.5), "at least 1"),
        (lambda: Temperature("hot"), "Received: 'hot'"),
        (lambda: Proportional(sizes={"a": 0}), "positive number"),
        (lambda: Proportional().shares({"a": 3, "b": None}), "no size for 'b'"),
        (lambda: Masked(sizes={"digits": 3}).shares(SIZES), "Did you mean 'digit'"),
    ],
)
def test_a_wrong_setting_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
