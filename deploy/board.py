"""Board: one microcontroller board with its ROM, RAM, core and clock, and where each is stated.

Here stand the value and its reading from TOML, the built-in files in `deploy/boards` as well as a
user's own; the fields one by one are in `board_fields.py`. What a bundle costs on a board is in
`deploy/footprint`; limits a user sets on top of a board are in `deploy/budget.py`.

A user's board takes six lines; any field of a built-in board can be overridden with `base`:

    name = "gate-sensor"          base = "nano33ble"
    core = "cortex-m4"            name = "nano33ble-with-radio"
    clock = "80 MHz"              rom_slot = "600 KiB"
    rom_chip = "1 MiB"
    rom_slot = "960 KiB"
    ram = "96 KiB"
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from deploy.board_fields import CORES, BoardError, near, read_fields
from deploy.units import format_bytes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "CORES",
    "Board",
    "BoardError",
    "board_from_table",
    "board_names",
    "load_board",
    "override",
]

_BOARDS_FOLDER = Path(__file__).parent / "boards"
_EXAMPLES = {"name": "my-board", "core": "cortex-m4", "clock": "64 MHz"}


@dataclass(frozen=True)
class Board:
    """One board. Sizes in bytes, clock in hertz.

    Args:
        name: Short name, as on the command line, e.g. "nano33ble".
        title: Full name for people.
        mcu: The chip.
        core: One of `CORES`.
        fpu: Floating-point unit: "none", "single" or "double".
        clock_hz: Clock of the core at full speed.
        rom_chip_bytes: The whole flash that programs execute from, in the chip or beside it; 0
            where there is none and the program is copied from storage into RAM.
        rom_slot_bytes: What one application really gets: the flash without bootloader, second slot
            and file system. Budgets are held against this figure. Where `rom_chip_bytes` is 0 it is
            the storage, and the program occupies RAM besides.
        ram_bytes: Main block of contiguous RAM. Budgets are held against this figure, because an
            arena cannot straddle two blocks.
        ram_total_bytes: All blocks of RAM in the chip together.
        sources: Where each figure comes from, by the field's name in the file, e.g. "rom_slot".
        notes: What else a user should know: splits, bootloaders, external memories.
    """

    name: str
    title: str
    mcu: str
    core: str
    fpu: str
    clock_hz: int
    rom_chip_bytes: int
    rom_slot_bytes: int
    ram_bytes: int
    ram_total_bytes: int
    sources: dict[str, str] = field(default_factory=dict)
    notes: str = ""

    @property
    def runs_from_ram(self) -> bool:
        """Whether there is no flash to execute from, so that the program occupies RAM besides."""
        return self.rom_chip_bytes == 0


@lru_cache(maxsize=1)
def board_names() -> tuple[str, ...]:
    """Return the names of the built-in boards, sorted."""
    return tuple(sorted(path.stem for path in _BOARDS_FOLDER.glob("*.toml")))


def load_board(name_or_path: str | Path) -> Board:
    """Load a built-in board by its name, or a user's board from a `.toml` file.

    Args:
        name_or_path: Such as "nano33ble", or the path of a file (a text that ends in ".toml").

    Raises:
        BoardError: There is no such board or file, or the file does not describe a board.
    """
    path = Path(name_or_path)
    if not isinstance(name_or_path, str) or path.suffix == ".toml":
        return _read(path)
    if name_or_path not in board_names():
        raise BoardError(_no_board(name_or_path))
    return _built_in(name_or_path)


@lru_cache(maxsize=256)
def _built_in(name: str) -> Board:
    return _read(_BOARDS_FOLDER / f"{name}.toml")


def _read(path: Path) -> Board:
    """Read a board's file."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BoardError(
            f"The board file {str(path)!r} must be a readable TOML file; {error.strerror}. "
            "Check the path, or name a built-in board (`keras-tree boards` lists them)."
        ) from error
    except (ValueError, RecursionError) as error:
        raise BoardError(f"The board file {str(path)!r} must be TOML; {error}.") from error
    try:
        return board_from_table({"name": path.stem, **table})
    except BoardError as error:
        raise BoardError(f"{error} (in {str(path)!r})") from error


def board_from_table(table: Mapping[str, Any]) -> Board:
    """Make a board from the fields of a TOML table.

    Args:
        table: `name`, `core`, `clock` ("64 MHz"), `rom_chip`, `rom_slot`, `ram` ("256 KiB") are
            needed; `rom` may stand for `rom_chip` and `rom_slot` where they are equal. `title`,
            `mcu`, `fpu`, `ram_total`, `notes` and the table `sources` are optional. With `base`,
            the name of a built-in board, every field left out is that board's.

    Raises:
        BoardError: A field is unknown, missing, or has a value that is no such quantity.
    """
    base = _base(table["base"]) if "base" in table else None
    if base is not None:
        return override(base, {key: value for key, value in table.items() if key != "base"})
    board = _fresh(read_fields(table), _sources(table))
    _check_consistency(board)
    return board


def override(base: Board, table: Mapping[str, Any]) -> Board:
    """Replace fields of a board.

    Args:
        base: The board.
        table: The fields to replace, as in `board_from_table`, without `base`.

    Returns:
        The board with them; a replaced figure loses the base's source.

    Raises:
        BoardError: As `board_from_table`.
    """
    values = read_fields(table)
    if "core" in values and values["core"] != base.core:
        values = {"fpu": CORES[values["core"]], **values}
    changed = [key for key in table if key not in ("name", "title", "notes", "sources")]
    if "rom" in changed:
        changed += ["rom_chip", "rom_slot"]
    kept = {key: text for key, text in base.sources.items() if key not in changed}
    own = dict.fromkeys(changed, f"overrides {base.name}")
    board = replace(base, **values, sources={**kept, **own, **_sources(table)})
    _check_consistency(board)
    return board


def _base(name: object) -> Board:
    """The built-in board that a board starts from."""
    if not isinstance(name, str) or name not in board_names():
        close = near(name, board_names()) or "`keras-tree boards` lists them."
        raise BoardError(f"`base` must be the name of a built-in board, received {name!r}. {close}")
    return load_board(name)


def _sources(table: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(text) for key, text in table.get("sources", {}).items()}


def _fresh(values: dict[str, Any], sources: dict[str, str]) -> Board:
    """A board of its own: every needed field must be there."""
    needed = ("name", "core", "clock_hz", "rom_chip_bytes", "rom_slot_bytes", "ram_bytes")
    missing = [re.sub("_(hz|bytes)$", "", key) for key in needed if key not in values]
    if missing:
        are, them = ("is", "it") if len(missing) == 1 else ("are", "them")
        example = _EXAMPLES.get(missing[0], "256 KiB")
        raise BoardError(
            f"A board needs {', '.join(f'`{key}`' for key in missing)}, which {are} not given. "
            f'Add {them}, for example `{missing[0]} = "{example}"`, or start from a built-in board '
            'with `base = "nano33ble"`.'
        )
    defaults = {
        "title": values["name"],
        "mcu": "unknown",
        "fpu": CORES[values["core"]],
        "ram_total_bytes": values["ram_bytes"],
    }
    return Board(**{**defaults, **values}, sources=sources)


def _check_consistency(board: Board) -> None:
    """Refuse a part that is larger than its whole."""
    pairs = [("ram", board.ram_bytes, "ram_total", board.ram_total_bytes)]
    if not board.runs_from_ram:
        pairs.append(("rom_slot", board.rom_slot_bytes, "rom_chip", board.rom_chip_bytes))
    for part, part_bytes, whole, whole_bytes in pairs:
        if part_bytes > whole_bytes:
            raise BoardError(
                f"`{part}` must be at most `{whole}` of board '{board.name}'; received "
                f"{format_bytes(part_bytes)} against {format_bytes(whole_bytes)}. "
                f"Lower `{part}`, or give `{whole}` as well."
            )


def _no_board(name: str) -> str:
    names = board_names()
    slug = re.sub(r"[\s_]+", "-", name.strip().lower())
    close = difflib.get_close_matches(slug, names, n=3, cutoff=0.6)
    close = close or [known for known in names if slug and (slug in known or known in slug)][:3]
    meant = " or ".join(f"'{known}'" for known in close)
    advice = f"Did you mean {meant}?" if close else "`keras-tree boards` lists them."
    return f"No board {name!r}. {advice} A board of your own is the path of a .toml file."
