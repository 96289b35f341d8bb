"""What a budget file says: bundles, boards and checks, and the checks of every bundle.

The values after reading. The file's keys are read in `budget_file.py`; holding a bundle against the
checks is in `budget.py`.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy.board import BoardError, load_board
from deploy.budget import BudgetError, Check


@dataclass(frozen=True)
class BudgetFile:
    """What a budget file says.

    Args:
        path: The file.
        bundles: Paths by the bundle's name; several paths stand on one device together. That of
            `[project]` has an empty name.
        boards: A check over all tasks for every `[[board]]`, by the board's name in the file.
        asked: The checks: those of `[[check]]`, or else one for every board; without a bundle's
            name where they are for every bundle.
        defaults: A check's settings from `[project]`, by the names of `Check`.
        baseline: The baseline's file, or None.
    """

    path: Path
    bundles: dict[str, tuple[Path, ...]]
    boards: dict[str, Check]
    asked: tuple[Check, ...]
    defaults: dict[str, Any]
    baseline: Path | None = None

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks, each for one bundle."""
        return self.for_bundles(self.asked)

    def for_bundles(self, checks: Iterable[Check]) -> tuple[Check, ...]:
        """Repeat for every bundle what names none; with one bundle, checks need not name it.

        Raises:
            BudgetError: Two of the checks would have the same name.
        """
        if len(self.bundles) < 2:
            return tuple(checks)
        spread = []
        for one in checks:
            if one.bundle:
                spread.append(one)
                continue
            is_named = one.name not in self.boards and one.name != one.board.name
            for bundle in self.bundles:
                name = f"{one.name} ({bundle})" if is_named else f"{bundle} on {one.name}"
                spread.append(replace(one, name=name, bundle=bundle))
        doubled = [name for name, count in Counter(one.name for one in spread).items() if count > 1]
        if doubled:
            raise BudgetError(
                f"{self.path}: each check needs a name of its own, '{doubled[0]}' is there twice "
                "once checks are repeated for every bundle. Rename one, or add `bundle` to it."
            )
        return tuple(spread)

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
