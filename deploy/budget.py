"""Budget: limits held against a footprint, and the verdict. Arithmetic only.

The values it works with are in `verdict.py`, reading limits from a file in `budget_file.py`, what
to do when a limit is passed in `next_steps.py`, rendering in `report/`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from deploy.comparison.baseline import Baseline, BaselineCheck
from deploy.footprint import Footprint, footprint
from deploy.footprint.cores import CoreError
from deploy.footprint.image import ImageError, read_image, refuse_other_machine
from deploy.footprint.latency import untimed_nodes
from deploy.footprint.ram import RamError
from deploy.footprint.rom import RomError
from deploy.lint import lint
from deploy.measured import (
    Measurement,
    MeasurementError,
    file_of_core,
    measured_of,
    ram_parts,
    rom_parts,
    run_note,
)
from deploy.next_steps import next_steps
from deploy.units import format_bytes
from deploy.usage import Part, Timing, Usage
from deploy.verdict import BudgetReport, Check, Verdict
from quantize.bundle import Bundle

__all__ = ["BudgetError", "BudgetReport", "Check", "Part", "Usage", "Verdict", "check", "judge"]


class BudgetError(ValueError):
    """A check that cannot be held against a bundle, or a budget file that cannot be used."""


def check(
    bundle: Bundle | Mapping[str, Bundle],
    checks: Sequence[Check],
    baseline: Baseline | None = None,
) -> BudgetReport:
    """Hold bundles against every check.

    Args:
        bundle: The bundle; or several, by the name that `Check.bundle` calls them.
        checks: At least one.
        baseline: What the checks found earlier; a check that it does not know has no baseline.

    Returns:
        The report; over budget is an answer in it, not an exception.

    Raises:
        BudgetError: There is no check, or one names an unknown bundle, task or board, or asks what
            cannot be answered.
    """
    if not checks:
        raise BudgetError("`checks` must hold at least one check, received none. Name a board.")
    bundles = {"": bundle} if isinstance(bundle, Bundle) else dict(bundle)
    earlier = {} if baseline is None else baseline.checks
    verdicts = [judge(_bundle_of(one, bundles), one, earlier.get(one.name)) for one in checks]
    ordered = sorted(verdicts, key=lambda verdict: (verdict.fits, -verdict.percent))
    report = BudgetReport(tuple(ordered))
    found = {one.name: lint(one, report.widest(one).footprint) for one in report.bundles}
    return BudgetReport(report.verdicts, found, baseline is not None)


def _bundle_of(one: Check, bundles: Mapping[str, Bundle]) -> Bundle:
    if one.bundle in bundles:
        return bundles[one.bundle]
    if not one.bundle and len(bundles) == 1:
        return next(iter(bundles.values()))
    raise BudgetError(
        f"Check '{one.name}' must name a bundle, received '{one.bundle}'. There are: "
        f"{', '.join(bundles)}."
    )


def judge(bundle: Bundle, one: Check, earlier: BaselineCheck | None = None) -> Verdict:
    """Hold a bundle against one check.

    Args:
        bundle: The bundle.
        one: The check.
        earlier: What the same check found earlier, or None.

    Raises:
        BudgetError: The check names an unknown task or an impossible limit, its kernels are not for
            the board's core, or the cost of an operator is not known.
    """
    _refuse_unknown_tasks(bundle, one)
    _refuse_impossible_limits(one)
    try:
        found = footprint(bundle, one.board, one.tasks, one.kernels, one.allocate)
        measurement = _measurement(bundle, one)
        rom = _rom_usage(one, found, measurement, earlier)
    except (CoreError, RomError, RamError, ImageError, MeasurementError) as error:
        raise BudgetError(f"Check '{one.name}': {error}") from error
    ram = _ram_usage(one, found, measurement, earlier)
    notes = (*_limit_notes(one), *found.notes)
    if measurement is not None:
        # Steps are tried with estimates, and times are of another runtime.
        notes = (run_note(measurement), *notes)
        return Verdict(one, bundle, found, rom, ram, None, (), notes, earlier)
    time = _timing(bundle, one, found, earlier)
    # Steps are tried with estimates, which say nothing of an image's bytes.
    tried_rom = replace(rom, parts=()) if one.image is not None else rom
    within = rom.fits and ram.fits and (time is None or time.fits)
    steps = () if within else next_steps(bundle, one, found, tried_rom, ram, time)
    return Verdict(one, bundle, found, rom, ram, time, steps, notes, earlier)


def _measurement(bundle: Bundle, one: Check) -> Measurement | None:
    """What was measured of the check's tasks; None where nothing is named, or is there."""
    path = None if one.measured is None else file_of_core(one.measured, one.board.core)
    if path is None:
        return None
    if one.image is not None or one.latency_limit_us is not None:
        other = "image" if one.image is not None else "latency"
        raise MeasurementError(
            f"`measured` gives ROM, RAM and instructions of the plain-C runtime, received "
            f"`{other}` besides. Give one of them: an image has its own ROM, and instructions are "
            "no time."
        )
    chosen = bundle if one.tasks is None else bundle.select(one.tasks)
    return measured_of(path, chosen, one.board.core)


def _rom_usage(
    one: Check,
    found: Footprint,
    measurement: Measurement | None,
    earlier: BaselineCheck | None,
) -> Usage:
    """Flash against its limit: estimated, read from an image, or measured."""
    limit = one.rom_limit_bytes
    usable = one.board.rom_slot_bytes if limit is None else limit
    return Usage(
        "ROM",
        usable,
        limit is not None,
        _rom_parts(one, found, measurement),
        (0.0, 0.0) if one.image or measurement else found.rom_error_percent,
        round(one.margin.of(usable)),
        None if earlier is None else earlier.rom_bytes,
        _allowed(one, "rom", None if earlier is None else earlier.rom_bytes),
    )


def _rom_parts(one: Check, found: Footprint, measurement: Measurement | None) -> tuple[Part, ...]:
    """Sections of an image; or what was measured, or nodes, core and kernels, and the reserve."""
    if one.image is not None:
        image = read_image(one.image)
        refuse_other_machine(image, one.image, one.board.core)
        return tuple(Part(name, "image", size) for name, size in image.rom_sections.items())
    if measurement is not None:
        return (*rom_parts(measurement), *_reserve(one.reserve_rom_bytes))
    return (
        *(Part(node.name, "nodes", node.rom_bytes) for node in found.nodes.values()),
        Part("runtime core", "runtime", found.runtime.core_bytes),
        Part("kernels", "runtime", found.runtime.kernel_bytes),
        *_reserve(one.reserve_rom_bytes),
    )


def _ram_usage(
    one: Check,
    found: Footprint,
    measurement: Measurement | None,
    earlier: BaselineCheck | None,
) -> Usage:
    """RAM against its limit: every cause of the footprint, or what was measured; the reserve."""
    parts = (
        tuple(Part(name, "arena", size) for name, size in found.ram_parts.items())
        if measurement is None
        else ram_parts(measurement, one.board)
    )
    limit = one.ram_limit_bytes
    usable = one.board.ram_bytes if limit is None else limit
    return Usage(
        "RAM",
        usable,
        limit is not None,
        (*parts, *_reserve(one.ram_reserve_bytes(one.board))),
        found.ram_error_percent if measurement is None else (0.0, 0.0),
        round(one.margin.of(usable)),
        None if earlier is None else earlier.ram_bytes,
        _allowed(one, "ram", None if earlier is None else earlier.ram_bytes),
    )


def _allowed(one: Check, quantity: str, whole: float | None) -> int | None:
    """How much a quantity may grow above its baseline; None for any."""
    if whole is None or quantity not in one.allow_growth:
        return None
    return int(one.allow_growth[quantity].of(whole))


def _timing(
    bundle: Bundle, one: Check, found: Footprint, earlier: BaselineCheck | None
) -> Timing | None:
    """The time of the slowest task; None where it is not known."""
    slowest = found.slowest_task
    if slowest is None or slowest.latency is None:
        if one.latency_limit_us is not None:
            nodes = {name: bundle.nodes[name] for name in found.nodes}
            names = untimed_nodes(nodes, one.board, found.kernels)
            of = f"the precision of {', '.join(names)}" if names else one.board.core
            raise BudgetError(
                f"Check '{one.name}': a limit on latency needs published measurements to hold it "
                f"against, and there are none for {of} with {found.kernels} kernels. "
                "Leave `latency` out of this check, and measure on the device."
            )
        return None
    baseline_us = None if earlier is None else earlier.latency_us
    limit = one.latency_limit_us
    # A margin of so many bytes says nothing about time.
    margin_us = 0.0 if limit is None else limit * one.margin.percent / 100
    allowed = one.allow_growth.get("latency")
    growth_us = None if allowed is None or baseline_us is None else allowed.of(baseline_us)
    return Timing(slowest.name, slowest.latency, limit, margin_us, baseline_us, growth_us)


def _reserve(size_bytes: int) -> tuple[Part, ...]:
    return (Part("the reserve", "reserve", size_bytes),) if size_bytes else ()


def _refuse_unknown_tasks(bundle: Bundle, one: Check) -> None:
    if one.tasks is not None and not one.tasks:
        raise BudgetError(
            f"`tasks` of check '{one.name}' must name a task, received none. "
            f"The bundle has: {', '.join(bundle.tasks)}."
        )
    for name in one.tasks or ():
        if name not in bundle.tasks:
            near = difflib.get_close_matches(name, bundle.tasks, n=1)
            advice = f"Did you mean '{near[0]}'?" if near else f"It has: {', '.join(bundle.tasks)}."
            raise BudgetError(
                f"`tasks` of check '{one.name}' must be tasks of bundle '{bundle.name}', received "
                f"'{name}'. {advice}"
            )


def _refuse_impossible_limits(one: Check) -> None:
    """A limit of nothing, or above what the chip has, is a mistake and no budget."""
    board = one.board
    chip_bytes = max(board.rom_chip_bytes, board.rom_slot_bytes)
    for key, limit, whole, what in (
        ("rom", one.rom_limit_bytes, chip_bytes, "flash"),
        ("ram", one.ram_limit_bytes, board.ram_total_bytes, "RAM"),
    ):
        if limit is not None and not 0 < limit <= whole:
            raise BudgetError(
                f"`{key}` of check '{one.name}' must be above 0 and at most the "
                f"{format_bytes(whole)} of {what} on {board.name}, received {format_bytes(limit)}. "
                f"Leave it out for the board's own limit."
            )
        own = {"rom": board.rom_slot_bytes, "ram": board.ram_bytes}[key]
        if one.margin.of(limit or own) >= (limit or own):
            raise BudgetError(
                f"`margin` of check '{one.name}' must be less than each limit, received "
                f"{one.margin.text} of {format_bytes(limit or own)} of {what}. Lower it."
            )


def _limit_notes(one: Check) -> tuple[str, ...]:
    """Say when a limit is above what an application gets by default."""
    notes, board = [], one.board
    if one.rom_limit_bytes is not None and one.rom_limit_bytes > board.rom_slot_bytes:
        notes.append(
            f"the ROM limit of {format_bytes(one.rom_limit_bytes)} is above the application slot "
            f"of {board.name}, {format_bytes(board.rom_slot_bytes)}: it needs a partition table or "
            "linker script of your own"
        )
    if one.ram_limit_bytes is not None and one.ram_limit_bytes > board.ram_bytes:
        notes.append(
            f"the RAM limit of {format_bytes(one.ram_limit_bytes)} is above the main block of "
            f"{board.name}, {format_bytes(board.ram_bytes)}: an arena cannot straddle two blocks"
        )
    return tuple(notes)
