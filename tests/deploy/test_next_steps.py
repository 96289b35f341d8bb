"""What to do when over budget: every step is true of the models, and the useful ones come first."""

from dataclasses import replace

import pytest
from made_forms import recorded, stored, with_int4, with_tables

from deploy.board import load_board
from deploy.budget import Check, check
from deploy.footprint import footprint
from deploy.next_steps import Step
from quantize.precision.decoding import decoded
from quantize.strip import strip

NANO = load_board("nano33ble")


def verdict_of(bundle, rom=None, ram=None, board=NANO, **settings):
    return check(bundle, [Check("c", board, None, rom, ram, **settings)]).verdicts[0]


def test_no_step_where_it_fits(device_bundle):
    assert verdict_of(device_bundle).next_steps == ()


def test_every_claimed_saving_is_the_models(device_bundle):
    verdict = verdict_of(device_bundle, 1, 1, kernels="cmsis-nn")
    found = verdict.footprint
    steps = {(step.memory, step.text): step.saved_bytes for step in verdict.next_steps}
    int8 = footprint(device_bundle, NANO, None, "cmsis-nn-int8")
    assert (
        steps["ROM", "register the int8-only CMSIS-NN kernels"] == found.rom_bytes - int8.rom_bytes
    )
    alone = footprint(device_bundle, NANO, ("angle",), "cmsis-nn")
    assert steps["RAM", "ship without task digit"] == found.ram_bytes - alone.ram_bytes
    assert not any(step.is_enough for step in verdict.next_steps)


@pytest.mark.parametrize(
    ("name", "form", "told"),
    [
        ("digit", with_tables, "quantize digit in int8, without lookup tables"),
        ("trunk", with_int4, "quantize trunk in int8, without int4 weights"),
    ],
)
def test_int8_is_tried_where_another_form_takes_more(device_bundle, name, form, told):
    bundle = stored(device_bundle, **{name: form})
    steps = check(bundle, [Check("c", NANO, ("digit",), 1, None)]).verdicts[0].next_steps
    (saved,) = [step.saved_bytes for step in steps if step.text == told]
    other = stored(device_bundle, **{name: strip})
    assert saved == rom_of(bundle) - rom_of(other) > 0


@pytest.mark.parametrize(("name", "form"), [("digit", with_tables), ("trunk", with_int4)])
def test_int8_is_no_step_where_a_recording_alone_is_known(device_bundle, name, form):
    bundle = recorded(stored(device_bundle, **{name: form}), name)
    verdict = check(bundle, [Check("c", NANO, ("digit",), 1, None)]).verdicts[0]
    assert verdict.next_steps
    assert not any("in int8" in step.text for step in verdict.next_steps)


def rom_of(bundle):
    return footprint(bundle, NANO, ("digit",)).rom_bytes


def test_decoding_is_told_where_ram_is_short(device_bundle):
    one = Check("c", NANO, ("digit",), None, 1)
    bundle = stored(device_bundle, digit=with_tables)
    steps = check(bundle, [one]).verdicts[0].next_steps
    (saved,) = [step.saved_bytes for step in steps if "without lookup tables" in step.text]
    found = footprint(bundle, NANO, ("digit",))
    plain = footprint(stored(bundle, digit=decoded), NANO, ("digit",))
    assert saved == found.ram_bytes - plain.ram_bytes > 100


def test_enough_is_exact_to_the_byte(device_bundle):
    whole = footprint(device_bundle, NANO)
    rest = footprint(device_bundle, NANO, ("angle",))
    for limit, is_enough in ((rest.rom_bytes, True), (rest.rom_bytes - 1, False)):
        steps = verdict_of(device_bundle, limit).next_steps
        (step,) = [step for step in steps if step.text == "ship without task digit"]
        assert step.saved_bytes == whole.rom_bytes - rest.rom_bytes
        assert step.is_enough == is_enough
        assert str(step).endswith(", then ROM fits") == is_enough


def test_the_reserve_counts_in_enough(device_bundle):
    rest = footprint(device_bundle, NANO, ("angle",)).rom_bytes
    steps = verdict_of(device_bundle, rest + 999, reserve_rom_bytes=1000).next_steps
    (step,) = [step for step in steps if step.text == "ship without task digit"]
    assert not step.is_enough


def test_steps_that_are_enough_come_first_then_the_largest(device_bundle):
    limit = footprint(device_bundle, NANO, ("angle",)).rom_bytes
    steps = [step for step in verdict_of(device_bundle, limit).next_steps if step.memory == "ROM"]
    assert 2 <= len(steps) <= 3
    order = [(not step.is_enough, -step.saved_bytes) for step in steps]
    assert order == sorted(order)


def test_no_step_is_offered_that_saves_nothing(device_bundle):
    one = Check("c", NANO, ("angle",), 1, 1)
    steps = check(device_bundle, [one]).verdicts[0].next_steps
    assert all(step.saved_bytes > 0 or step.text.startswith("shrink") for step in steps)
    assert not any("without task" in step.text for step in steps)  # it is the only one


@pytest.mark.parametrize("operator", ["CONV_2D", "FULLY_CONNECTED", "DEPTHWISE_CONV_2D"])
def test_no_advice_to_do_without_the_weights(device_bundle, operator):
    texts = [step.text for step in verdict_of(device_bundle, 1).next_steps]
    assert not any(f"without {operator}" in text for text in texts)


def test_the_board_that_is_named_fits_and_none_smaller_does(device_bundle):
    small = load_board("bluepill")
    verdict = verdict_of(device_bundle, board=small, reserve_rom_bytes=40_000)
    step = verdict.next_steps[-1]
    assert step.memory == "both"
    named = load_board(step.text.removeprefix("take a larger board: "))
    assert named.rom_slot_bytes > small.rom_slot_bytes
    assert verdict_of(device_bundle, board=named, reserve_rom_bytes=40_000).fits


def test_a_board_is_named_for_the_checks_own_kernels(device_bundle):
    small = load_board("bluepill")
    for kernels in ("reference", "cmsis-nn"):
        settings = {"reserve_rom_bytes": 60_000, "kernels": kernels}
        step = verdict_of(device_bundle, board=small, **settings).next_steps[-1]
        named = load_board(step.text.removeprefix("take a larger board: "))
        assert verdict_of(device_bundle, board=named, **settings).fits


def test_a_board_that_copies_the_program_into_ram_is_not_taken_for_one_with_flash(device_bundle):
    # Only the board without flash of its own has storage for it, but no RAM.
    giant = {"reserve_rom_bytes": 20 * 1024**2}
    steps = verdict_of(device_bundle, board=load_board("mimxrt1060-evk"), **giant).next_steps
    assert not any("stm32n6570-dk" in step.text for step in steps)
    assert not verdict_of(device_bundle, board=load_board("stm32n6570-dk"), **giant).fits


def test_a_limit_of_the_users_own_is_not_lifted_by_another_board(device_bundle):
    steps = verdict_of(device_bundle, 30_000).next_steps
    assert not any("board" in step.text for step in steps)


def test_cmsis_nn_is_not_advised_off_arm(device_bundle):
    board = replace(load_board("esp32-c3"), rom_slot_bytes=10_000)
    steps = verdict_of(device_bundle, board=board).next_steps
    assert steps
    assert not any("CMSIS" in step.text for step in steps)


def test_as_a_line():
    assert str(Step("ROM", "do it", 2048, False)) == "do it (saves 2.0 KiB of ROM)"
    assert str(Step("RAM", "do it", 0, True)) == "do it, then RAM fits"
    assert str(Step("both", "do it", 0, True)) == "do it, then ROM and RAM fit"
    assert str(Step("time", "do it", 0, True)) == "do it, then the latency fits"


def test_a_step_says_which_memory_it_is_for(device_bundle):
    verdict = verdict_of(device_bundle, 1, footprint(device_bundle, NANO).ram_bytes - 1)
    steps = {step.memory: str(step) for step in verdict.next_steps if "without task" in step.text}
    assert steps["ROM"].endswith(" of ROM)")
    assert steps["RAM"].endswith(" of RAM), then RAM fits")
