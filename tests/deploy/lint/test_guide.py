"""The guide of the lint: every rule is in it, and its figures are computed anew."""

import re
from pathlib import Path

import pytest

from deploy.board import load_board
from deploy.footprint import footprint
from deploy.lint import RULES, lint
from deploy.lint.dead_channels import count_dead_channels

GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "lint.md").read_text(encoding="utf-8")
COLUMNS = ("ad01", "kws", "resnet", "speech", "all four")


def rows_of(heading):
    """Cells of a table's rows by the first cell, from the line that begins with `heading`."""
    table = GUIDE[GUIDE.index(heading) :].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {first: rest for first, *rest in cells}


def test_every_rule_is_told_in_order():
    assert [name.strip("`") for name in rows_of("| rule |")] == list(RULES)
    for name in RULES:
        assert re.search(rf"^\*\*.*`{name}`", GUIDE, re.MULTILINE), name


@pytest.mark.parametrize("column", COLUMNS)
def test_the_figures_of_the_public_models(public_models, bundle_of, column):
    chosen = public_models if column == "all four" else {column: public_models[column]}
    bundle = bundle_of(chosen)
    found = lint(bundle, footprint(bundle, load_board("nano33ble")))
    saved = {finding.rule: f"{finding.saved_bytes:,}" for finding in found}
    counted = [count_dead_channels(data, True) for data in chosen.values()]
    dead, channels = (sum(getattr(one, name) for one in counted) for name in ("dead", "channels"))
    told = {name: cells[COLUMNS.index(column)] for name, cells in rows_of("| finding |").items()}
    assert told == {
        "`single-user-operator` (ADD)": saved.pop("single-user-operator", "-"),
        "`replaceable-softmax`": saved.pop("replaceable-softmax", "-"),
        "`strip-savings`": saved.pop("strip-savings", "-"),
        "dead channels, of so many": f"{dead} of {channels:,}",
    }
    assert not saved


def test_the_example_runs(bundle_folder, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    exec(example.replace("build/bundle", str(bundle_folder)), {})
    assert capsys.readouterr().out.startswith(
        "replaceable-softmax ('digit',) digit ends in SOFTMAX"
    )
