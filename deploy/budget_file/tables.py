"""The budget file's tables, read key by key; every mistake names the file, table and key.

What a value may look like stands here; which keys there are and what they mean is in
`reading.py`, and on which line they stand in `lines.py`.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.budget import BudgetError
from deploy.budget_file.lines import Place
from deploy.footprint.cores import KERNEL_SETS
from deploy.units import Allowance, UnitError, parse_allowance, parse_bytes, parse_microseconds

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYPROJECT = "pyproject.toml"
OUR_PLACE: Place = ("tool", "keras-tree")
"""Where our tables stand in a `pyproject.toml`."""

_MOST_BYTES = 1024**2  # thousands of checks; TOML is read slowly, and whole

ALLOCATIONS = ("all", "one")
"""Every path in the arena at once, or only the path that runs."""


@dataclass(frozen=True)
class Table:
    """One table of the file.

    Args:
        where: The file and the table, for messages: "keras-tree.toml: [[check]] kws".
        values: What stands in it.
        place: Where it stands in the file.
    """

    where: str
    values: Mapping[str, Any]
    place: Place

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def text(self, key: str) -> str:
        """A text in one printable line."""
        value = self.values[key]
        if not _is_text(value):
            raise self.wrong(
                f"`{key}` must be a text in one line, received {value!r}. Write it in quotes."
            )
        return str(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A text, or a list of several different ones."""
        value = self.values[key]
        texts = (value,) if isinstance(value, str) else value
        if (
            not isinstance(texts, list | tuple)
            or not texts
            or not all(map(_is_text, texts))
            or len(set(texts)) < len(texts)
        ):
            raise self.wrong(
                f"`{key}` must be a text in one line or a list of different ones, received "
                f'{value!r}. Write "a", or ["a", "b"].'
            )
        return tuple(texts)

    def tasks(self) -> tuple[str, ...] | None:
        """The tasks of a check; None for all of them."""
        tasks = self.values.get("tasks", "*")
        if tasks == "*":
            return None
        if not isinstance(tasks, list) or not tasks or not all(map(_is_text, tasks)):
            raise self.wrong(
                f'`tasks` must be a list of names or "*", received {tasks!r}. Write '
                '`tasks = ["kws"]`.'
            )
        return tuple(dict.fromkeys(tasks))

    def size(self, key: str) -> int:
        """A size in bytes."""
        try:
            return parse_bytes(self.values[key], key)
        except UnitError as error:
            raise self.wrong(str(error)) from error

    def microseconds(self, key: str) -> float:
        """A time in microseconds."""
        try:
            return parse_microseconds(self.values[key], key)
        except UnitError as error:
            raise self.wrong(str(error)) from error

    def margin(self) -> Allowance:
        """What must stay free: a size, or a share of a limit below all of it."""
        margin = self._allowance("margin", self.values["margin"])
        if margin.percent >= 100:
            raise self.wrong(
                f"`margin` must be below 100 % of the limit, received {margin.text}. Write for "
                'example "5 %".'
            )
        return margin

    def growth(self) -> dict[str, Allowance]:
        """`allow_growth`: one allowance for ROM and RAM alike, or a table with one of each."""
        value = self.values["allow_growth"]
        if not isinstance(value, dict):
            both = self._allowance("allow_growth", value)
            return {"rom": both, "ram": both}
        inner = Table(f"{self.where}: `allow_growth`", value, (*self.place, "allow_growth"))
        inner.refuse_unknown(("rom", "ram", "latency"))
        return {
            key: self._allowance(f"allow_growth.{key}", part, of_time=key == "latency")
            for key, part in value.items()
        }

    def _allowance(self, key: str, value: Any, of_time: bool = False) -> Allowance:
        try:
            return parse_allowance(value, key, of_time)
        except UnitError as error:
            raise self.wrong(f'{error} A share is written "5 %".') from error

    def choice(self, key: str, choices: Sequence[str], kind: str) -> str:
        """One of a few texts."""
        value = self.text(key)
        self.refuse_unknown(choices, among=(value,), kind=kind)
        return value

    def settings(self) -> dict[str, Any]:
        """The limits and settings that the table sets in a check, by the names of `Check`."""
        settings: dict[str, Any] = {}
        for key in ("rom", "ram"):
            if key in self:
                settings[f"{key}_limit_bytes"] = self.size(key)
        for key in ("reserve_rom", "reserve_ram"):
            if key in self:
                settings[f"{key}_bytes"] = self.size(key)
        if "latency" in self:
            settings["latency_limit_us"] = self.microseconds("latency")
        if "kernels" in self:
            settings["kernels"] = self.choice("kernels", KERNEL_SETS, "kernel set")
        if "margin" in self:
            settings["margin"] = self.margin()
        if "allow_growth" in self:
            settings["allow_growth"] = self.growth()
        if "allocate" in self:
            settings["allocate"] = self.choice("allocate", ALLOCATIONS, "allocation")
        return settings

    def refuse_unknown(
        self, known: Iterable[str], among: Iterable[str] | None = None, kind: str = "key"
    ) -> None:
        """Refuse a name that does not exist, and offer the nearest that does.

        Args:
            known: The names that exist.
            among: The names to look at; None for the table's keys.
            kind: What they are, in the singular.
        """
        known = tuple(known)
        for name in self.values if among is None else among:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                advice = f" Did you mean `{near[0]}`?" if near else ""
                raise self.wrong(
                    f"there is no {kind} `{name}`.{advice} The {kind}s are: {', '.join(known)}."
                )

    def wrong(self, message: str) -> BudgetError:
        """The error that says where the mistake is."""
        return BudgetError(f"{self.where}: {message}")


def text_of(path: Path) -> str:
    """The text of a file that must be UTF-8.

    Raises:
        BudgetError: It cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise BudgetError(
                f"{path}: a budget file of at most {_MOST_BYTES // 1024**2} MiB is expected, "
                "received more. Give the file that holds the limits."
            )
        return data.decode("utf-8-sig")
    except OSError as error:
        raise BudgetError(
            f"{path}: a readable TOML file is expected; {error.strerror}. Check the path."
        ) from error
    except UnicodeDecodeError as error:
        raise BudgetError(f"{path}: TOML is expected; {error}. Save it as UTF-8.") from error


def parsed(path: Path, text: str) -> dict[str, Any]:
    """What a TOML text says.

    Raises:
        BudgetError: It is no TOML.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise BudgetError(f"{path}: TOML is expected; {error}. Mend the line.") from error


def our_table(path: Path, content: dict[str, Any]) -> dict[str, Any] | None:
    """The part of the file that is ours; None where there is none."""
    if path.name != PYPROJECT:
        return content
    tools = content.get("tool")
    table = tools.get("keras-tree") if isinstance(tools, dict) else None
    return table if isinstance(table, dict) else None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()
