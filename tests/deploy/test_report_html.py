"""The page of a report: what it says, that it asks for nothing, and that names stay names."""

import base64
import hashlib
import math
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from made_forms import stored, with_int4, with_tables
from made_pages import on_boards, renamed

from deploy.next_steps import Step
from deploy.report import as_html, phrases
from deploy.report.html.markup import Markup, escape, number, tag
from deploy.verdict import BudgetReport

REPORTS = (
    "one_fit", "one_over", "twelve", "timed", "with_margin", "grown", "linted", "two_bundles",
    "with_image", "full", "mixed",
)  # fmt: skip
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&lt;\x00\ud800"
VOID = {"meta", "link"}


class Page(HTMLParser):
    """The elements of a page, and whether each that was opened was closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def named(self, name: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag == name]

    @property
    def words(self) -> str:
        """All that is to be read, without style, script and what charts say of themselves."""
        left_out = ("style", "script", "desc")
        return " ".join(data for tag, data in self.texts if tag not in left_out)


@pytest.fixture(params=[*REPORTS, "device", "stored"])
def report(request, device_bundle) -> BudgetReport:
    if request.param == "device":
        return on_boards(device_bundle)
    if request.param == "stored":
        return on_boards(stored(device_bundle, trunk=with_int4, digit=with_tables))
    return request.getfixturevalue(request.param)


def test_decoded_weights_are_drawn(device_bundle) -> None:
    text = as_html.render(on_boards(stored(device_bundle, digit=with_tables)))
    assert "weights decoded by TFLM_DECODE" in text
    assert re.search(r'class="tile block ram4"', text)
    assert re.search(r'<span class="swatch ram4"[^>]*></span><span>decoded weights</span>', text)
    assert "decoded" not in as_html.render(on_boards(device_bundle))


def test_golden(one_fit, assert_golden) -> None:
    assert_golden(as_html.render(one_fit), "html_one_fit.html")


def test_the_page_is_well_formed(report) -> None:
    page = Page(as_html.render(report))
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert max(Counter(identities).values()) == 1
    for attributes in page.named("svg"):
        assert attributes.get("aria-hidden") == "true" or all(
            one in identities for one in attributes["aria-labelledby"].split()
        )
    assert len(page.named("caption")) == len(page.named("table"))
    assert len(page.named("h1")) == len(page.named("title")[:1]) == 1
    assert page.elements[0] == ("html", {"lang": "en"})


def test_it_asks_for_nothing(report) -> None:
    text = as_html.render(report)
    page = Page(text)
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    for name, attributes in page.elements:
        assert "src" not in attributes
        assert attributes.get("href", "data:,") == "data:,"
        assert not any(key.startswith("on") for key in attributes), name
        assert "style" not in attributes


def test_its_policy_allows_its_own_style_and_script_only(one_fit) -> None:
    text = as_html.render(one_fit)
    policy = Page(text).named("meta")[1]["content"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for name in ("style", "script"):
        (content,) = re.findall(f"<{name}>(.*?)</{name}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy


def test_it_says_what_the_other_renderings_say(report) -> None:
    words = Page(as_html.render(report)).words
    assert phrases.outcome(report) in words
    for verdict in report.verdicts:
        assert phrases.verdict_word(verdict) in words
        assert verdict.check.name in words
        assert phrases.board_line(verdict) in words
        for usage in (verdict.rom, verdict.ram):
            assert phrases.percent(usage) in words
            assert phrases.used_of_limit(usage) in words
            assert phrases.error_band(usage.error_percent) in words
        for told in (*verdict.messages, *map(str, verdict.next_steps), *verdict.notes):
            assert told in words
        if verdict.time is not None:
            assert phrases.time_of_limit(verdict.time) in words
            assert phrases.error_band(verdict.time.latency.error_percent) in words
    for findings in report.findings.values():
        for finding in findings:
            assert finding.rule in words
            assert finding.text in words
            assert finding.advice in words
    for bundle in report.bundles:
        shown = report.widest(bundle)
        assert phrases.model_size(bundle) in words
        assert phrases.saving(shown.footprint) in words.replace("One task", "one task")


def test_growth_against_the_baseline_is_told(grown, one_fit) -> None:
    words = Page(as_html.render(grown)).words
    for told in ("+3.1 KiB against the baseline", "-1.2 KiB against", "as in the baseline"):
        assert told in words
    assert "new, no baseline" in words
    assert "baseline" not in Page(as_html.render(one_fit)).words


def test_a_check_over_budget_is_marked_by_word_and_sign(one_over) -> None:
    text = as_html.render(one_over)
    assert '<span aria-hidden="true" class="mark">\N{MULTIPLICATION X}</span>OVER' in text
    assert 'class="bar over"' in text
    assert "4.0 KiB more than the limit" in text


def test_checks_keep_their_order_and_each_has_its_charts(twelve) -> None:
    page = Page(as_html.render(twelve))
    options = [attributes["value"] for attributes in page.named("option")]
    templates = {attributes["id"] for attributes in page.named("template")}
    (shown,) = {a["data-check"] for _, a in page.elements if "data-check" in a}
    assert len(twelve.verdicts) == 13
    assert len(options) == 12
    assert {*templates, shown} == set(options)
    assert shown not in templates
    assert "the 11 others that are nearest to their limits; all 13 are in the tables" in page.words


def test_the_more_tasks_the_fewer_checks_are_drawn(device_bundle) -> None:
    task = device_bundle.tasks["digit"]
    for count, drawn in ((3, 4), (12, 3), (40, 1)):
        tasks = {f"t{i}": replace(task, name=f"t{i}") for i in range(count)}
        text = as_html.render(on_boards(replace(device_bundle, tasks=tasks)))
        assert text.count("<template ") == drawn - 1
        assert text.count('class="arena"') == drawn * count
    assert "Drawn is the check with the most tasks; all 4 are in the tables." in text


def test_one_check_needs_no_choice(one_fit) -> None:
    page = Page(as_html.render(one_fit))
    assert page.named("select") == page.named("template") == []


@pytest.mark.parametrize("name", [HOSTILE, "a" * 400, "\u202eabc", "\N{PILE OF POO}" * 30, "&amp;"])
def test_names_do_not_become_markup(full, linted, name: str) -> None:
    for report in (full, linted):
        plain = Page(as_html.render(renamed(report, "plain")))
        given = Page(as_html.render(renamed(report, name)))
        # Labels that do not fit are left out; everything else is the same.
        drawn = {"text", "g"}
        count = Counter(tag for tag, _ in plain.elements if tag not in drawn)
        assert Counter(tag for tag, _ in given.elements if tag not in drawn) == count
        assert {key for _, attributes in given.elements for key in attributes} <= {
            key for _, attributes in plain.elements for key in attributes
        }
        shown = name.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
        assert shown in given.words
        as_html.render(renamed(report, name)).encode("utf-8")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_figure_without_a_value(report_of, verdict_of, value: float) -> None:
    verdict = verdict_of("nano33ble")
    tasks = {
        name: replace(
            task,
            score=replace(
                task.score,
                float_value=value,
                int8_value=value if name != "digit" else 0.5,
                agreement=value,
                sqnr_db=value,
                largest_error=value,
            ),
        )
        for name, task in verdict.bundle.tasks.items()
    }
    bundle = replace(verdict.bundle, tasks=tasks)
    text = as_html.render(report_of(replace(verdict, bundle=bundle)))
    page = Page(text)
    assert not re.search(r"\b(nan|inf|infinity)\b|[(>]-?(nan|inf)%?[<)]", page.words, re.IGNORECASE)
    for _, attributes in page.elements:
        for key, told in attributes.items():
            assert key in ("class", "id", "content") or not re.search(r"\b(nan|inf)\b", told or "")
    assert "Without a score: orientation, texture." in page.words


def test_tasks_without_scores_have_no_empty_chart(report_of, verdict_of) -> None:
    verdict = verdict_of("nano33ble")
    tasks = {key: replace(one, score=None) for key, one in verdict.bundle.tasks.items()}
    bundle = replace(verdict.bundle, tasks=tasks)
    text = as_html.render(report_of(replace(verdict, bundle=bundle)))
    assert "No task of this check has a score" in text
    assert 'class="scatter"' not in text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (tag("p", "a<b"), "<p>a&lt;b</p>"),
        (tag("p", tag("b", "x"), None), "<p><b>x</b></p>"),
        (tag("p", class_='"', hidden=True, id=None), '<p class="&quot;" hidden></p>'),
        (tag("rect", x=1.0, y=-0.001), '<rect x="1" y="0"/>'),
        (tag("meta", name="a", http_equiv="b"), '<meta name="a" http-equiv="b">'),
        (tag("p", Markup("&amp;"), "&amp;"), "<p>&amp;&amp;amp;</p>"),
        (escape("a\x00b\x1f\tc\ud800"), "a\ufffdb\ufffd\tc\ufffd"),
    ],
)
def test_markup(given: str, expected: str) -> None:
    assert given == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_coordinate_must_be_finite(value: float) -> None:
    with pytest.raises(ValueError, match="A coordinate must be finite, received"):
        number(value)
    with pytest.raises(ValueError, match="Leave the mark out"):
        tag("rect", x=value)


def test_the_same_report_gives_the_same_page(full) -> None:
    assert as_html.render(full) == as_html.render(full)


def test_no_other_rendering_loads_the_charts() -> None:
    code = (
        "import sys, deploy.report.as_json, deploy.report.as_markdown, deploy.report.terminal\n"
        "import deploy.budget, deploy.cli\n"
        "print([name for name in sys.modules if 'report.html' in name or 'timeline' in name])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_what_stands_in_backticks_is_code(report_of, verdict_of) -> None:
    steps = (
        Step("RAM", 'allocate one path (`allocate = "one"`)', 9, False),
        Step("ROM", "ship without task a`<b", 9, False),
    )
    page = as_html.render(report_of(verdict_of("nano33ble", 60_000, next_steps=steps)))
    assert "(<code>allocate = &quot;one&quot;</code>) (saves 9 B of RAM)" in page
    assert "ship without task a`&lt;b (saves 9 B of ROM)" in page
