"""The budget file: `keras-tree.toml`, or the table `[tool.keras-tree]` of a `pyproject.toml`.

    [project]
    bundle = "build/bundle"         # relative to this file
    reserve_rom = "180 KiB"         # what the rest of the firmware takes: application, RTOS, radio
    reserve_ram = "24 KiB"
    kernels = "cmsis-nn-int8"       # left out: the best measured for each board's core

    [[board]]
    use = "nano33ble"               # a built-in board, or a .toml file, with limits of your own
    rom = "400 KiB"                 # left out: the board's application slot
    ram = "96 KiB"                  # left out: the board's main block

    [[board]]                       # a board of your own; `rom` and `ram` are what it has
    name = "gate-sensor"
    core = "cortex-m4"
    clock = "80 MHz"
    rom = "512 KiB"
    ram = "96 KiB"

    [[check]]                       # no check at all: every board, with all tasks
    name = "kws-only"
    board = "nano33ble"             # a board of this file, or a built-in one
    tasks = ["kws"]                 # or "*"

Reading and checking the file stands here; limits are held against a bundle in `budget.py`.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy.board import BoardError, board_from_table, load_board
from deploy.budget import BudgetError, Check
from deploy.footprint.cores import KERNEL_SETS
from deploy.units import UnitError, parse_bytes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "keras-tree.toml"
_PYPROJECT = "pyproject.toml"
_LIMITS = ("rom", "ram", "kernels")
_PROJECT_KEYS = ("bundle", "reserve_rom", "reserve_ram", "kernels")
_USE_KEYS = ("use", "name", *_LIMITS)
_CHECK_KEYS = ("name", "board", "tasks", *_LIMITS)


@dataclass(frozen=True)
class BudgetFile:
    """What a budget file says.

    Args:
        path: The file.
        bundle: The bundle's folder, or None.
        boards: A check over all tasks for every `[[board]]`, by the board's name in the file.
        checks: The checks: those of `[[check]]`, or else one for every board.
        defaults: A check's settings from `[project]`: reserves and kernels.
    """

    path: Path
    bundle: Path | None
    boards: dict[str, Check]
    checks: tuple[Check, ...]
    defaults: dict[str, Any]

    def check_for(self, board: str) -> Check:
        """The check of one board: the file's where it names it, else a built-in or `.toml` one.

        Raises:
            BudgetError: There is no such board.
        """
        if board in self.boards:
            return self.boards[board]
        try:
            loaded = load_board(board)
            return Check(loaded.name, loaded, **self.defaults)
        except BoardError as error:
            near = difflib.get_close_matches(board, self.boards, n=1)
            advice = f" {self.path.name} has '{near[0]}'." if near else ""
            raise BudgetError(f"{error}{advice}") from error


def find_budget_file(folder: Path) -> Path | None:
    """The budget file of a folder: `keras-tree.toml`, or a `pyproject.toml` with our table."""
    own, pyproject = folder / FILE_NAME, folder / _PYPROJECT
    if own.is_file():
        return own
    if pyproject.is_file() and _our_table(pyproject, _parsed(pyproject)) is not None:
        return pyproject
    return None


def read_budget_file(path: Path) -> BudgetFile:
    """Read and check a budget file.

    Raises:
        BudgetError: The file cannot be read, or a key or value of it cannot be used.
    """
    table = _our_table(path, _parsed(path))
    if table is None:
        raise BudgetError(
            f"{path}: the table [tool.keras-tree] is expected, and there is none. Add it, or write "
            f"a {FILE_NAME}."
        )
    _refuse_unknown(f"{path}", table, ("project", "board", "check"), "table")
    defaults, bundle = _project(path, table.get("project", {}))
    boards = _boards(path, _tables(path, table, "board"), defaults)
    file = BudgetFile(path, bundle, boards, tuple(boards.values()), defaults)
    checks = _checks(file, _tables(path, table, "check"))
    return replace(file, checks=checks) if checks else file


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BudgetError(
            f"{path}: a readable TOML file is expected; {error.strerror}. Check the path."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BudgetError(f"{path}: TOML is expected; {error}. Mend the line.") from error


def _our_table(path: Path, content: dict[str, Any]) -> dict[str, Any] | None:
    """The part of the file that is ours."""
    if path.name != _PYPROJECT:
        return content
    table = content.get("tool", {}).get("keras-tree")
    return table if isinstance(table, dict) else None


def _tables(path: Path, table: Mapping[str, Any], key: str) -> list[tuple[str, dict[str, Any]]]:
    """Each `[[key]]` with the words that an error names it by."""
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise BudgetError(
            f"{path}: `{key}` must be a list of tables, received {found!r}. Write [[{key}]]."
        )
    return [
        (f"{path}: [[{key}]] {entry.get('name', entry.get('use', number))}", entry)
        for number, entry in enumerate(found, start=1)
    ]


def _project(path: Path, project: Any) -> tuple[dict[str, Any], Path | None]:
    """The settings of every check, and the bundle's folder."""
    where = f"{path}: [project]"
    if not isinstance(project, dict):
        raise BudgetError(f"{path}: `project` must be a table, received {project!r}.")
    _refuse_unknown(where, project, _PROJECT_KEYS)
    defaults: dict[str, Any] = {
        f"{key}_bytes": _size(where, project, key)
        for key in ("reserve_rom", "reserve_ram")
        if key in project
    }
    if "kernels" in project:
        defaults["kernels"] = _kernels(where, project)
    bundle = path.parent / _name(where, project, "bundle") if "bundle" in project else None
    return defaults, bundle


def _boards(
    path: Path, entries: list[tuple[str, dict[str, Any]]], defaults: dict[str, Any]
) -> dict[str, Check]:
    """One check over all tasks for every `[[board]]`."""
    boards: dict[str, Check] = {}
    for where, entry in entries:
        try:
            if "use" in entry:
                _refuse_unknown(where, entry, _USE_KEYS)
                board = load_board(_place(path, _name(where, entry, "use")))
            else:
                board = board_from_table(entry)
        except BoardError as error:
            raise BudgetError(f"{where}: {error}") from error
        name = _name(where, entry, "name") if "name" in entry else board.name
        if name in boards:
            raise BudgetError(
                f"{where}: each board needs a name of its own, '{name}' is there twice. Add "
                '`name = "..."` to one of them.'
            )
        limits = _limits(where, entry) if "use" in entry else {}
        boards[name] = Check(**{"name": name, "board": board, **defaults, **limits})
    return boards


def _place(path: Path, name: str) -> str:
    """A board's name as it is; a `.toml` file relative to the budget file."""
    return str(path.parent / name) if name.endswith(".toml") else name


def _checks(file: BudgetFile, entries: list[tuple[str, dict[str, Any]]]) -> tuple[Check, ...]:
    """One check for every `[[check]]`, on top of its board's limits."""
    checks: dict[str, Check] = {}
    for where, entry in entries:
        _refuse_unknown(where, entry, _CHECK_KEYS)
        if "board" not in entry:
            known = ", ".join(file.boards) or "such as nano33ble"
            raise BudgetError(f"{where}: `board` is expected and missing. Name one: {known}.")
        try:
            board = _name(where, entry, "board")
            base = file.check_for(board if board in file.boards else _place(file.path, board))
        except BudgetError as error:
            raise BudgetError(f"{where}: {error}") from error
        name = _name(where, entry, "name") if "name" in entry else base.name
        if name in checks:
            raise BudgetError(f"{where}: each check needs a name of its own. Rename one of them.")
        tasks = _task_names(where, entry)
        checks[name] = replace(base, name=name, tasks=tasks, **_limits(where, entry))
    return tuple(checks.values())


def _task_names(where: str, entry: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The tasks of a check; None for all of them."""
    tasks = entry.get("tasks", "*")
    if tasks == "*":
        return None
    if not isinstance(tasks, list) or not tasks or not all(isinstance(t, str) for t in tasks):
        raise BudgetError(
            f'{where}: `tasks` must be a list of names or "*", received {tasks!r}. Write '
            '`tasks = ["kws"]`.'
        )
    return tuple(tasks)


def _limits(where: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The limits and kernels that an entry sets, by the names of `Check`."""
    limits: dict[str, Any] = {
        f"{key}_limit_bytes": _size(where, entry, key) for key in ("rom", "ram") if key in entry
    }
    if "kernels" in entry:
        limits["kernels"] = _kernels(where, entry)
    return limits


def _kernels(where: str, table: Mapping[str, Any]) -> str:
    kernels = _name(where, table, "kernels")
    _refuse_unknown(where, {kernels: None}, KERNEL_SETS, "kernel set")
    return kernels


def _size(where: str, table: Mapping[str, Any], key: str) -> int:
    try:
        return parse_bytes(table[key], key)
    except UnitError as error:
        raise BudgetError(f"{where}: {error}") from error


def _name(where: str, table: Mapping[str, Any], key: str) -> str:
    """A text in one printable line."""
    value = table[key]
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise BudgetError(
            f"{where}: `{key}` must be a text in one line, received {value!r}. Write it in quotes."
        )
    return value


def _refuse_unknown(
    where: str, table: Mapping[str, Any], known: Iterable[str], kind: str = "key"
) -> None:
    known = tuple(known)
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            advice = f" Did you mean `{near[0]}`?" if near else ""
            raise BudgetError(
                f"{where}: there is no {kind} `{key}`.{advice} The {kind}s are: {', '.join(known)}."
            )
