"""A ROM budget: the limit, how bytes are counted against it, and the error of one that is too low.

Belongs here: figures and messages. Does not belong here: how a budget is met (`search.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from quantize.bundle import Bundle
from quantize.byte_count import format_bytes, parse_bytes

RomModel = Callable[[Bundle], int]
"""What a bundle takes, in bytes; raises `RomModelError` for one that cannot run there."""


class RomModelError(ValueError):
    """A bundle that cannot run where its bytes are counted; the message says what in it cannot."""


class RomBudgetError(ValueError):
    """A budget that no combination of precisions meets; says what is reachable, and what to do.

    Args:
        message: The message.
        smallest_bytes: What the smallest combination takes.
    """

    def __init__(self, message: str, smallest_bytes: int) -> None:
        super().__init__(message)
        self.smallest_bytes = smallest_bytes


@dataclass(frozen=True)
class RomBudget:
    """A limit and how bytes are counted against it.

    Args:
        limit_bytes: What a bundle may take, above 0.
        rom_model: What a bundle takes.
    """

    limit_bytes: int
    rom_model: RomModel


def stored_bytes(bundle: Bundle) -> int:
    """Return the bytes of a bundle's `.tflite` files together."""
    return sum(node.rom_bytes for node in bundle.nodes.values())


def rom_budget(rom: int | str | None, rom_model: RomModel | None) -> RomBudget | None:
    """Read a budget as `quantize` takes it; None where there is none.

    Raises:
        ValueError: `rom` is no size above 0, or there is a model without a limit.
    """
    if rom is None:
        if rom_model is not None:
            raise ValueError(
                "`rom_model` must go with `rom`, received a model and no budget. Give `rom`, such "
                'as "120 KiB".'
            )
        return None
    limit_bytes = parse_bytes(rom, "rom")
    if not limit_bytes:
        raise ValueError(f'`rom` must be above 0, received {rom!r}. Write such as "120 KiB".')
    return RomBudget(limit_bytes, rom_model or stored_bytes)


def missed(budget: RomBudget, smallest: Bundle, free: Collection[str]) -> RomBudgetError:
    """Return the error of a budget that even the smallest bundle misses.

    Args:
        budget: The budget.
        smallest: The smallest bundle that there is.
        free: The nodes whose precision was free to choose.
    """
    smallest_bytes = budget.rom_model(smallest)
    largest = max(smallest.nodes.values(), key=lambda node: node.rom_bytes)
    fixed = [name for name in smallest.nodes if name not in free]
    beside = smallest_bytes - stored_bytes(smallest)
    runtime = f", {beside:,} of them beside the nodes' files" if beside else ""
    steps = [f'raise it to "{smallest_bytes} B"']
    if fixed:
        listed = ", ".join(f"'{name}'" for name in fixed)
        steps.append(f"free {listed}, whose precision `precision` or `base` fixes")
    steps.append(
        f"or make the tree smaller, '{largest.name}' first: it takes {largest.rom_bytes:,} bytes "
        f"as {largest.precision}"
    )
    return RomBudgetError(
        f"`rom` must be at least {smallest_bytes:,} bytes ({format_bytes(smallest_bytes)}{runtime})"
        f", the smallest that precisions reach here; received {budget.limit_bytes:,} bytes, "
        f"{smallest_bytes - budget.limit_bytes:,} too few. "
        f"{', '.join(steps)[:1].upper()}{', '.join(steps)[1:]}.",
        smallest_bytes,
    )
