"""Margins, growth against a baseline, time, and several bundles: the arithmetic of a verdict."""

from dataclasses import replace

import pytest

from deploy import budget
from deploy.board import load_board
from deploy.budget import BudgetError, Check, check
from deploy.comparison.baseline import Baseline, BaselineCheck
from deploy.footprint.latency import Latency
from deploy.units import Allowance, parse_allowance
from deploy.usage import Part, Timing, Usage

NANO = load_board("nano33ble")
ROM_BYTES = 65_506  # of the hand-made bundle on a Cortex-M4
RAM_BYTES = 11_772
LATENCY = Latency(
    12_000.0, (-20.0, 50.0), "measured", {"trunk": 9_000.0, "digit": 3_000.0}, {"CONV_2D": 12_000.0}
)


@pytest.fixture(autouse=True)
def priced(monkeypatch, small_footprint):
    """The hand-made footprint instead of the models': round figures, exact edges."""

    def footprint(bundle, board, tasks=None, kernels=None, allocate="all"):
        found = small_footprint(board, tasks, kernels)
        if board.core != "cortex-m4":
            return found
        timed = {name: replace(task, latency=LATENCY) for name, task in found.tasks.items()}
        return replace(found, tasks=timed, allocate=allocate)

    monkeypatch.setattr(budget, "footprint", footprint)
    monkeypatch.setattr(budget, "next_steps", lambda *_: ())
    monkeypatch.setattr(budget, "lint", lambda *_: ())


def usage(used: int, limit: int, **settings) -> Usage:
    return Usage("ROM", limit, True, (Part("kernels", "runtime", used),), (-1.0, 1.0), **settings)


@pytest.mark.parametrize(
    ("margin", "fits", "over"),
    [
        ("0 B", True, 0),
        ("1000 B", True, 0),
        ("1001 B", False, 1),
        ("1.5 %", True, 0),
        ("1.51 %", False, 4),
    ],
)
def test_a_margin_is_kept_free_below_the_limit(bundle, margin, fits, over):
    limit = ROM_BYTES + 1000
    one = Check("nano", NANO, None, limit, margin=parse_allowance(margin, "margin"))
    verdict = check(bundle, [one]).verdicts[0]
    assert (verdict.rom.fits, verdict.rom.over_bytes) == (fits, over)
    assert verdict.rom.limit_bytes == limit
    assert ("less a margin of" in "".join(verdict.messages)) == (margin != "0 B")


def test_a_margin_above_the_limit_is_refused(bundle):
    for margin in ("300 KiB", "100 %"):
        one = Check("nano", NANO, margin=parse_allowance(margin, "margin"))
        with pytest.raises(BudgetError, match="must be less than each limit"):
            check(bundle, [one])


@pytest.mark.parametrize(
    ("before", "allowed", "grew"),
    [
        (ROM_BYTES, "0 B", False),
        (ROM_BYTES - 1, "0 B", True),
        (ROM_BYTES - 2048, "2 KiB", False),
        (ROM_BYTES - 2049, "2 KiB", True),
        (64_858, "1 %", False),  # 64,858 + 648 = 65,506
        (64_856, "1 %", True),
        (ROM_BYTES + 5, "0 B", False),
    ],
)
def test_growth_is_held_against_what_is_allowed(bundle, before, allowed, grew):
    one = Check("nano", NANO, allow_growth={"rom": parse_allowance(allowed, "allow_growth")})
    earlier = Baseline({"nano": BaselineCheck("nano", before, RAM_BYTES)})
    verdict = check(bundle, [one], earlier).verdicts[0]
    assert verdict.rom.growth_bytes == ROM_BYTES - before
    assert verdict.grew_too_much == grew
    assert verdict.fits == (not grew)
    assert verdict.is_within_limits
    assert [message.startswith("ROM grew by") for message in verdict.messages] == [True] * grew


def test_growth_without_a_gate_is_shown_and_never_fails(bundle):
    earlier = Baseline({"nano": BaselineCheck("nano", 1, 1)})
    report = check(bundle, [Check("nano", NANO), Check("new", NANO)], earlier)
    known, new = sorted(report.verdicts, key=lambda verdict: verdict.check.name)
    assert report.fits
    assert report.has_baseline
    assert (known.rom.growth_bytes, known.ram.growth_bytes) == (ROM_BYTES - 1, RAM_BYTES - 1)
    assert new.baseline is None
    assert new.rom.growth_bytes is None


def test_what_grew_stands_before_what_fits(bundle):
    gate = {"ram": Allowance()}
    checks = [Check("full", load_board("bluepill")), Check("grew", NANO, allow_growth=gate)]
    earlier = Baseline({"grew": BaselineCheck("grew", ROM_BYTES, RAM_BYTES - 1)})
    report = check(bundle, checks, earlier)
    names = [verdict.check.name for verdict in report.verdicts if not verdict.fits]
    assert "grew" in names


@pytest.mark.parametrize(
    ("limit", "margin", "fits", "close"),
    [
        (None, "0 B", True, False),
        (18_000.0, "0 B", True, False),
        (17_999.0, "0 B", True, True),
        (12_000.0, "0 B", True, True),
        (11_999.0, "0 B", False, False),
        (12_500.0, "5 %", False, False),
        (12_500.0, "4 KiB", True, True),  # a margin in bytes says nothing of time
    ],
)
def test_time_is_the_slowest_tasks(bundle, limit, margin, fits, close):
    one = Check("n", NANO, latency_limit_us=limit, margin=parse_allowance(margin, "margin"))
    verdict = check(bundle, [one]).verdicts[0]
    assert verdict.time.task == "digit"
    assert (verdict.time.fits, verdict.time.is_close) == (fits, close)
    assert verdict.fits == fits
    assert bool(verdict.messages) == (close or not fits)
    if not fits:
        assert "largest part: node trunk, 9.00 ms" in verdict.messages[0]


def test_time_may_grow_by_what_is_allowed():
    for allowed, grew in ((None, False), (2_000.0, False), (1_999.0, True)):
        timing = Timing("digit", LATENCY, None, 0.0, 10_000.0, allowed)
        assert timing.growth_us == 2_000.0
        assert timing.grew_too_much == grew
        assert bool(timing.growth_message) == grew


def test_a_limit_on_time_without_evidence_is_refused(bundle):
    pico = load_board("pico")
    assert check(bundle, [Check("pico", pico)]).verdicts[0].time is None
    with pytest.raises(BudgetError, match="needs published measurements") as caught:
        check(bundle, [Check("pico", pico, latency_limit_us=1e6)])
    assert "none for cortex-m0plus with" in str(caught.value)


def test_several_bundles_are_told_apart(bundle):
    other = replace(bundle, name="other")
    checks = [Check("a", NANO, bundle="one"), Check("b", NANO, bundle="two")]
    report = check({"one": bundle, "two": other}, checks)
    assert [one.name for one in report.bundles] == ["demo", "other"]
    assert [verdict.check.name for verdict in report.of(other)] == ["b"]
    assert report.widest(other).bundle is other
    assert set(report.findings) == {"demo", "other"}
    with pytest.raises(BudgetError, match="must name a bundle, received 'three'"):
        check({"one": bundle, "two": other}, [Check("c", NANO, bundle="three")])


def test_the_allocation_is_the_checks(bundle):
    one = check(bundle, [Check("nano", NANO, allocate="one")]).verdicts[0]
    assert one.footprint.allocate == "one"


def test_the_upper_end_of_the_band_counts_above_the_margin():
    assert not usage(1000, 1110, margin_bytes=100).is_close
    assert usage(1000, 1109, margin_bytes=100).is_close
    assert usage(1000, 1100, margin_bytes=100).fits
    assert usage(1000, 1099, margin_bytes=100).over_bytes == 1
