"""Reading a budget file: which tables and keys there are, and what each becomes.

The file by an example is in the package's docstring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploy.board import Board, BoardError, board_from_table, load_board, override
from deploy.board_fields import FIELDS
from deploy.budget import BudgetError, Check
from deploy.budget_file.checks import BudgetFile
from deploy.budget_file.lines import Lines, Place, lines_of
from deploy.budget_file.tables import OUR_PLACE, PYPROJECT, Table, our_table, parsed, text_of

FILE_NAME = "keras-tree.toml"
TABLES = ("project", "bundle", "board", "check")
PROJECT_KEYS = (
    "bundle", "reserve_rom", "reserve_ram", "kernels", "margin", "allow_growth", "baseline",
    "allocate",
)  # fmt: skip
BUNDLE_KEYS = ("name", "path")
# In a board that is used, `rom` and `ram` are limits; in one of your own, what it has.
_OVERRIDES = tuple(key for key in FIELDS if key not in ("base", "name", "rom", "ram"))
_LIMITS = ("rom", "ram", "latency", "kernels")
USE_KEYS = ("use", "name", *_LIMITS, *_OVERRIDES)
OWN_KEYS = ("latency", "kernels", *FIELDS)
CHECK_KEYS = (
    "name", "bundle", "board", "tasks", *_LIMITS, "margin", "allow_growth", "allocate", "image",
    "measured",
)  # fmt: skip
# What a finding may point at, and the keys that say it; the last of them that is there counts.
_WITH_LINES = {
    "rom": ("rom_slot", "rom"), "ram": ("ram",), "latency": ("latency",), "margin": ("margin",),
    "allow_growth": ("allow_growth",),
}  # fmt: skip


def find_budget_file(folder: Path) -> Path | None:
    """The budget file of a folder: `keras-tree.toml`, or a `pyproject.toml` with our table."""
    own, pyproject = folder / FILE_NAME, folder / PYPROJECT
    if own.is_file():
        return own
    if not pyproject.is_file():
        return None
    content = parsed(pyproject, text_of(pyproject))
    return None if our_table(pyproject, content) is None else pyproject


def read_budget_file(path: Path) -> BudgetFile:
    """Read and check a budget file.

    Raises:
        BudgetError: The file cannot be read, or a key or value of it cannot be used.
    """
    return budget_file_from(text_of(path), path)


def budget_file_from(text: str, path: Path) -> BudgetFile:
    """Check the text of a budget file.

    Args:
        text: Its content.
        path: Where it stands: other paths in it are relative to that.

    Raises:
        BudgetError: A key or value of it cannot be used.
    """
    found = our_table(path, parsed(path, text))
    if found is None:
        raise BudgetError(
            f"{path}: the table [tool.keras-tree] is expected, and there is none. Add it, or write "
            f"a {FILE_NAME}."
        )
    return _Reader(path, found, lines_of(text)).read()


class _Reader:
    """Reads one file, table by table."""

    def __init__(self, path: Path, content: Mapping[str, Any], lines: Lines) -> None:
        self.path, self.lines = path, lines
        self.start: Place = OUR_PLACE if path.name == PYPROJECT else ()
        self.content = Table(str(path), content, self.start)

    def read(self) -> BudgetFile:
        """The whole file."""
        self.content.refuse_unknown(TABLES, kind="table")
        project = self._project()
        bundles = self._bundles(project)
        baseline = self._path(project.text("baseline")) if "baseline" in project else None
        defaults = {**project.settings(), "file": self.path}
        defaults["lines"] = {"check": self.lines.of(*project.place), **self._lines(project)}
        boards = self._boards(defaults)
        file = BudgetFile(self.path, bundles, boards, tuple(boards.values()), defaults, baseline)
        checks = self._checks(file)
        file = replace(file, asked=checks) if checks else file
        file.for_bundles(file.asked)
        return file

    def _project(self) -> Table:
        values = self.content.values.get("project", {})
        if not isinstance(values, dict):
            raise self.content.wrong(
                f"`project` must be a table, received {values!r}. Write [project]."
            )
        project = Table(f"{self.path}: [project]", values, (*self.start, "project"))
        project.refuse_unknown(PROJECT_KEYS)
        return project

    def _tables(self, key: str) -> list[Table]:
        """Each `[[key]]` with the words that an error names it by."""
        found = self.content.values.get(key, [])
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise self.content.wrong(
                f"`{key}` must be a list of tables, received {found!r}. Write [[{key}]]."
            )
        return [
            Table(
                f"{self.path}: [[{key}]] {entry.get('name', entry.get('use', index + 1))}",
                entry,
                (*self.start, key, index),
            )
            for index, entry in enumerate(found)
        ]

    def _bundles(self, project: Table) -> dict[str, tuple[Path, ...]]:
        """Paths of every bundle."""
        tables = self._tables("bundle")
        if "bundle" not in project:
            bundles: dict[str, tuple[Path, ...]] = {}
            for table in tables:
                table.refuse_unknown(BUNDLE_KEYS)
                self._require(table, BUNDLE_KEYS)
                name = table.text("name")
                if name in bundles:
                    raise table.wrong("each bundle needs a name of its own. Rename one of them.")
                bundles[name] = tuple(map(self._path, table.texts("path")))
            return bundles
        if tables:
            raise project.wrong(
                "`bundle` is expected here or as [[bundle]] tables, received both. Make the one "
                "here another [[bundle]] with `name` and `path`."
            )
        return {"": tuple(map(self._path, project.texts("bundle")))}

    def _require(self, table: Table, keys: tuple[str, ...]) -> None:
        for key in keys:
            if key not in table:
                raise table.wrong(
                    f"`{key}` is expected and missing. Write for example "
                    '`name = "doorbell"` and `path = "build/doorbell"`.'
                )

    def _path(self, text: str) -> Path:
        """A path relative to the budget file."""
        return self.path.parent / text

    def _boards(self, defaults: dict[str, Any]) -> dict[str, Check]:
        """One check over all tasks for every `[[board]]`."""
        boards: dict[str, Check] = {}
        for table in self._tables("board"):
            board, settings = self._board(table)
            name = table.text("name") if "name" in table else board.name
            if name in boards:
                raise table.wrong(
                    f"each board needs a name of its own, '{name}' is there twice. Add "
                    '`name = "..."` to one of them.'
                )
            own = {"check": self.lines.of(*table.place), **self._lines(table)}
            settings["lines"] = {**defaults["lines"], **own}
            boards[name] = Check(**{"name": name, "board": board, **defaults, **settings})
        return boards

    def _board(self, table: Table) -> tuple[Board, dict[str, Any]]:
        """The board that a `[[board]]` describes, and the limits it sets."""
        try:
            if "use" not in table:
                fields = {key: value for key, value in table.values.items() if key in FIELDS}
                table.refuse_unknown(OWN_KEYS)
                limits = {key: value for key, value in table.values.items() if key not in FIELDS}
                return board_from_table(fields), replace(table, values=limits).settings()
            table.refuse_unknown(USE_KEYS)
            board = load_board(self._place(table.text("use")))
            changes = {key: value for key, value in table.values.items() if key in _OVERRIDES}
            return override(board, changes) if changes else board, table.settings()
        except BoardError as error:
            raise table.wrong(str(error)) from error

    def _place(self, name: str) -> str:
        """A board's name as it is; a `.toml` file relative to the budget file."""
        return str(self._path(name)) if name.endswith(".toml") else name

    def _checks(self, file: BudgetFile) -> tuple[Check, ...]:
        """One check for every `[[check]]`, on top of its board's limits."""
        checks: dict[str, Check] = {}
        for table in self._tables("check"):
            one = self._check(file, table)
            if one.name in checks:
                raise table.wrong(
                    f"each check needs a name of its own, '{one.name}' is there twice. Rename one "
                    "of them."
                )
            checks[one.name] = one
        return tuple(checks.values())

    def _check(self, file: BudgetFile, table: Table) -> Check:
        table.refuse_unknown(CHECK_KEYS)
        if "board" not in table:
            known = ", ".join(file.boards) or "such as nano33ble"
            raise table.wrong(f"`board` is expected and missing. Name one: {known}.")
        board = table.text("board")
        try:
            base = file.check_for(board if board in file.boards else self._place(board))
        except BudgetError as error:
            raise table.wrong(str(error)) from error
        settings = table.settings()
        settings["name"] = table.text("name") if "name" in table else base.name
        if "bundle" in table:
            bundle = self._named_bundle(file, table)
            if len(file.bundles) > 1:  # a bundle that is the only one needs no name
                settings["bundle"] = bundle
                if "name" not in table:
                    settings["name"] = f"{bundle} on {base.name}"
        for key in ("image", "measured"):
            if key in table:
                settings[key] = self._path(table.text(key))
        own = {"check": self.lines.of(*table.place), **self._lines(table)}
        return replace(base, **settings, tasks=table.tasks(), lines={**base.lines, **own})

    def _named_bundle(self, file: BudgetFile, table: Table) -> str:
        if not any(file.bundles):
            raise table.wrong(
                f"`bundle` must name a [[bundle]] of this file, received {table.text('bundle')!r} "
                "and there is none. Add one with `name` and `path`, or leave `bundle` out."
            )
        return table.choice("bundle", tuple(file.bundles), "bundle")

    def _lines(self, table: Table) -> dict[str, int]:
        """The lines of a table's own limits."""
        return {
            key: self.lines.of(*table.place, name)
            for key, names in _WITH_LINES.items()
            for name in names
            if name in table
        }
