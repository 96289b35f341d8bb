"""The guide of the gate: its budget file works, and its tables name what is there."""

import json
import re
from pathlib import Path

from deploy import budget_file
from deploy.budget_file import read_budget_file
from deploy.report import as_json

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "check.md").read_text(encoding="utf-8")


def test_the_budget_file_of_the_guide(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "keras-tree.toml").write_text(example, encoding="utf-8")
    file = read_budget_file(tmp_path / "keras-tree.toml")
    kws, gate = file.checks
    assert (kws.name, kws.tasks, kws.rom_limit_bytes) == ("kws-only", ("kws",), 400 * 1024)
    assert (gate.name, gate.tasks, gate.rom_limit_bytes) == ("gate-sensor", None, 300 * 1024)
    assert gate.board.rom_slot_bytes == 512 * 1024


def test_every_key_of_the_budget_file_is_in_the_guide():
    for keys in (budget_file._PROJECT_KEYS, budget_file._USE_KEYS, budget_file._CHECK_KEYS):
        assert ", ".join(f"`{key}`" for key in keys) in GUIDE


def test_every_key_of_the_json_is_in_the_guide(one_over):
    told = json.loads(as_json.render(one_over))
    table = "\n".join(line for line in GUIDE.splitlines() if line.startswith("|"))
    named = set(re.findall(r"`(?:checks\[\]\.|\.)?(\w+)`", table))
    assert set(told) <= named
    assert set(told["checks"][0]) <= named
    only_of_checks = set(re.findall(r"`checks\[\]\.(\w+)`", table))
    assert only_of_checks <= set(told["checks"][0])
