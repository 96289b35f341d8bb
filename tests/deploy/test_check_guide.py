"""The guide of the gate: its budget file works, and its tables name what is there."""

import json
import re
from pathlib import Path

from deploy.budget_file import budget_file_from, reading
from deploy.report import as_json, as_markdown

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "check.md").read_text(encoding="utf-8")


def test_the_budget_files_of_the_guide(tmp_path):
    one, several = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    kws, gate = budget_file_from(one, tmp_path / "keras-tree.toml").checks
    assert (kws.name, kws.tasks, kws.rom_limit_bytes) == ("kws-only", ("kws",), 400 * 1024)
    assert (kws.latency_limit_us, kws.board.clock_hz) == (120e3, 32_000_000)
    assert (gate.name, gate.tasks, gate.rom_limit_bytes) == ("gate-sensor", None, 300 * 1024)
    assert gate.board.rom_slot_bytes == 512 * 1024
    assert gate.image == tmp_path / "build/firmware.elf"
    file = budget_file_from(several, tmp_path / "keras-tree.toml")
    assert [check.name for check in file.checks] == ["release (doorbell)", "release (both)"]
    assert "doorbell on nano33ble" in GUIDE
    boards = several[: several.index("[[check]]")]
    file = budget_file_from(boards, tmp_path / "keras-tree.toml")
    assert file.checks[0].name == "doorbell on nano33ble"


def test_every_key_of_the_budget_file_is_in_the_guide():
    rows = {row.split("|")[1].strip(): row for row in GUIDE.splitlines() if row.startswith("|")}
    for table, keys in (
        ("`[project]`", reading.PROJECT_KEYS),
        ("`[[bundle]]`", reading.BUNDLE_KEYS),
        ("`[[board]]` with `use`", reading.USE_KEYS),
        ("`[[check]]`", reading.CHECK_KEYS),
    ):
        assert rows[table].split("|")[2].strip() == ", ".join(f"`{key}`" for key in keys)


def test_every_key_of_the_json_is_in_the_guide(one_over):
    told = json.loads(as_json.render(one_over))
    section = GUIDE[GUIDE.index("## In a CI") :]
    keys = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    of_checks = [key for key in keys if "`checks[]." in key]
    top = set(re.findall(r"`(\w+)`", " ".join(key for key in keys if key not in of_checks)))
    assert top == set(told)
    assert set(re.findall(r"`(?:checks\[\])?\.(\w+)`", " ".join(of_checks))) == set(
        told["checks"][0]
    )


def test_the_marker_of_the_guide_is_the_first_line_of_the_comment(one_over):
    first = as_markdown.render(one_over).splitlines()[0]
    assert first == as_markdown.MARKER
    assert f"`{first}`" in GUIDE
