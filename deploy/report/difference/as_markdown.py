"""A comparison as Markdown for a pull request: absolute figures and changes, the rest folded.

As arduino/report-size-deltas shows boards: a red triangle for growth, a green heart for what
shrank. The first line is a mark by which a bot finds its own comment and writes it anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploy.comparison.change import Change, Difference
from deploy.report.difference import phrases
from deploy.report.markdown_table import table

MARKER = "<!-- keras-tree diff -->"
_MOST_CHECKS = 12
_GREW, _SHRANK = "\N{UP-POINTING RED TRIANGLE}", "\N{GREEN HEART}"


def render(difference: Difference) -> str:
    """Render a comparison as GitHub-flavoured Markdown without a trailing newline."""
    sides = f"{_text(difference.old)} against {_text(difference.new)}"
    parts = [
        "\n".join([MARKER, f"### keras-tree diff: {_title(difference)}"]),
        *(_contract(difference)),
        "\n".join(_outcome(difference)),
        "\n".join(_checks(difference)).strip(),
        _model(difference),
        "\n".join(_tasks(difference)),
        _folded("Nodes and operators", [*_nodes(difference), *_operators(difference)]),
        "\n".join(f"Note: {_text(note)}." for note in difference.notes),
        f"Old against new: {sides}. {_errors(difference)}.",
    ]
    return "\n\n".join(part for part in parts if part)


def _errors(difference: Difference) -> str:
    told = phrases.errors(difference) or "ROM, RAM and time are estimates"
    return f"{told[0].upper()}{told[1:]}"


def _title(difference: Difference) -> str:
    if difference.too_much:
        return f"{' and '.join(dict.fromkeys(one.memory for one in difference.too_much))} grew"
    if difference.is_none:
        return phrases.no_difference(difference)
    return "the model" if difference.model is None else f"model {_delta(difference.model)}"


def _contract(difference: Difference) -> Iterator[str]:
    """An alert for each, which GitHub shows in red."""
    for contract in difference.contracts:
        yield "\n".join(
            [
                "> [!CAUTION]",
                f"> **{_text(contract.message)}**",
                f"> <br>old: {_text(contract.old)}",
                f"> <br>new: {_text(contract.new)}",
            ]
        )


def _outcome(difference: Difference) -> Iterator[str]:
    for growth in difference.too_much:
        yield f"- **{_text(growth.message)}**"


def _checks(difference: Difference) -> Iterator[str]:
    """A line per board or check: what is used now, and the change."""
    shown, left_out = phrases.shown_checks(difference, _MOST_CHECKS)
    has_time = any(check.time is not None for check in shown)
    heads = ["board or check", "ROM", "", "RAM", "", *(["time", ""] if has_time else [])]
    rows = [heads]
    for check in shown:
        cells = [check.name]
        for change in (check.rom, check.ram, *([check.time] if has_time else [])):
            cells += ["-", ""] if change is None else [_figure(change), _delta(change)]
        rows.append(cells)
    if shown:
        yield from table(rows, "l" + "r" * (len(heads) - 1), _text)
    if left_out:
        yield ""
        yield f"{left_out} of {len(difference.checks)} boards or checks without a difference."


def _figure(change: Change) -> str:
    return phrases.figure(change.new, change.unit)


def _delta(change: Change) -> str:
    """Such as "(red triangle) +1,024 (+4.9%)"."""
    told = phrases.delta(change)
    if told == "=":
        return told
    mark = _GREW if change.delta > 0 else _SHRANK
    share = phrases.percent(change).strip("[]")
    return f"{mark} {told} ({share})" if share else f"{mark} {told}"


def _model(difference: Difference) -> str:
    """The model and its work as one sentence, also where nothing changed."""
    terms = []
    if difference.model is not None:
        terms.append(f"Model: {_figure(difference.model)} bytes, {_delta(difference.model)}.")
    if difference.macs is not None:
        terms.append(f"MACs: {_figure(difference.macs)}, {_delta(difference.macs)}.")
    return " ".join(terms)


def _tasks(difference: Difference) -> Iterator[str]:
    if not difference.tasks:
        return
    rows = [["task", "metric", "int8", "", "float"]]
    for one in difference.tasks:
        facts = one.new or one.old
        metric = facts.metric if facts and facts.metric else "-"
        rows.append(
            [
                one.name,
                metric,
                phrases.score(one.new, one.new.int8_value) if one.new else "-",
                phrases.score_delta(one),
                phrases.score(one.new, one.new.float_value) if one.new else "-",
            ]
        )
    yield from table(rows, "llrrr", _text)
    for one in difference.tasks:
        if phrases.path_change(one):
            yield f"\n{_text(phrases.path_change(one))}."


def _nodes(difference: Difference) -> Iterator[str]:
    rows = [["node", "bytes", "", "content"]]
    for node in difference.nodes:
        rows.append([node.name, _figure(node), _delta(node), phrases.content(node) or node.word])
    return table(rows, "lrrl", _text)


def _operators(difference: Difference) -> Iterator[str]:
    """A list behind an empty line, which Markdown needs after a table."""
    if difference.operators:
        yield from ("", "Operators that only one side has, with their share of the kernels:", "")
    for one in difference.operators:
        yield f"- {'new' if one.is_new else 'gone'}: {_text(phrases.operator(one))}"


def _folded(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"<details><summary>{title}</summary>", "", *lines, "", "</details>"])


def _text(text: str) -> str:
    """Escape what GitHub would read as markup, a mention or an issue, in names of anybody's."""
    for mark in "\\`*_|[]~":
        text = text.replace(mark, f"\\{mark}")
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return text.replace("#", "&#35;").replace("@", "&#64;")
