"""How a report reads in a pull request: golden files, and names that must not become markup."""

from dataclasses import replace

import pytest

from deploy.report import as_markdown


@pytest.mark.parametrize("report", ["one_fit", "one_over", "twelve"])
def test_golden(request, assert_golden, report: str) -> None:
    text = as_markdown.render(request.getfixturevalue(report))
    assert_golden(text, f"markdown_{report}.md")


def test_every_table_is_well_formed(twelve) -> None:
    lines = as_markdown.render(twelve).splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert len(tables) > 20
    widths = []
    for line in lines:
        if line.startswith("|"):
            widths.append(line.count("|") - line.count("\\|"))
        else:
            assert len(set(widths)) <= 1
            widths = []


def test_names_do_not_become_markup(report_of, verdict_of) -> None:
    plain = verdict_of("nano33ble")
    name = "a|b <img src=x> `c` *d* [e](f)"
    report = report_of(replace(plain, check=replace(plain.check, name=name)))
    text = as_markdown.render(report)
    assert "<img" not in text
    assert "a\\|b &lt;img src=x> \\`c\\` \\*d\\* \\[e\\](f)" in text


def test_details_are_closed(twelve) -> None:
    text = as_markdown.render(twelve)
    assert text.count("<details>") == text.count("</details>") == 2
