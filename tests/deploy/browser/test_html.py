"""The page in a real headless browser: what is drawn, read, chosen, and never asked for."""

import pytest
from made_pages import on_boards, public_bundle, renamed

from deploy.report import as_html
from deploy.report.html.page import page
from deploy.verdict import BudgetReport

WIDTHS = (360, 768, 1200, 1600)
HOSTILE = "</script><img src=x onerror=window.hacked=1><script>window.hacked=2</script>\"'"
LONG = "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW"
REPORTS = ("one_fit", "one_over", "twelve", "full", "device", "public", "long")

# Every chart of every check: the panels that wait in templates too.
SHOW_ALL = """
for (const template of document.querySelectorAll("template"))
  template.replaceWith(template.content.cloneNode(true));
for (const details of document.querySelectorAll("details")) details.open = true;
"""
EMPTY_DRAWINGS = """
const shown = (one) => one.checkVisibility();
const wrong = [];
for (const one of document.querySelectorAll("svg")) {
  const box = one.getBoundingClientRect();
  if (shown(one) && !(box.width > 20 && box.height > 4)) wrong.push(one.outerHTML.slice(0, 90));
  for (const rect of shown(one) ? one.querySelectorAll("rect.tile") : []) {
    const inner = rect.getBBox();
    if (!(inner.width > 0 && inner.height > 0)) wrong.push(rect.outerHTML);
  }
}
return wrong;
"""
OUTSIDE = """
const wrong = [];
const within = (one, other, slack) => one.left >= other.left - slack && one.top >= other.top - slack
  && one.right <= other.right + slack && one.bottom <= other.bottom + slack;
for (const text of document.querySelectorAll("svg text")) {
  if (!text.checkVisibility() || !text.textContent) continue;
  const box = text.getBoundingClientRect();
  const drawing = text.ownerSVGElement.getBoundingClientRect();
  if (!within(box, drawing, 1)) wrong.push(["out of the drawing", text.outerHTML]);
  if (!text.dataset.within) continue;
  const around = document.getElementById(text.dataset.within).getBoundingClientRect();
  if (!within(box, around, 1)) wrong.push(["out of its rectangle", text.outerHTML]);
}
return wrong;
"""
OVERLAPS = """
const wrong = [];
for (const drawing of document.querySelectorAll("svg.scatter, svg.treemap")) {
  if (!drawing.checkVisibility()) continue;
  const boxes = (one) => [one, one.getBoundingClientRect()];
  const texts = [...drawing.querySelectorAll("text")].map(boxes);
  for (const [one, a] of texts) for (const [other, b] of texts) {
    if (one === other) continue;
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    // A font's box is higher than its letters.
    if (wide > 2 && high > 5) wrong.push([one.textContent, other.textContent]);
  }
}
return wrong;
"""
# WCAG 2.2, "contrast ratio" and "relative luminance"; a translucent fill lies on what is under it.
CONTRASTS = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
const rgba = (colour) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const data = canvas.getImageData(0, 0, 1, 1).data;
  return [data[0], data[1], data[2], data[3] / 255];
};
const over = (top, under, opacity) => [0, 1, 2].map(
  (i) => top[i] * top[3] * opacity + under[i] * (1 - top[3] * opacity));
const paper = rgba(getComputedStyle(document.body).backgroundColor);
const light = (colour) => {
  const [r, g, b] = colour.map((one) => one / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  if (element.dataset.within) {
    const style = getComputedStyle(document.getElementById(element.dataset.within));
    return over(rgba(style.fill), paper, Number(style.fillOpacity));
  }
  for (let one = element; one; one = one.parentElement) {
    const colour = rgba(getComputedStyle(one).backgroundColor);
    if (colour[3] === 1) return colour.slice(0, 3);
  }
  return paper.slice(0, 3);
};
const wrong = [];
let count = 0;
for (const one of document.querySelectorAll("body *")) {
  const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!own || !one.checkVisibility() || ["SCRIPT", "title", "desc"].includes(one.tagName)) continue;
  const style = getComputedStyle(one);
  const ink = rgba(one instanceof SVGElement ? style.fill : style.color);
  const [a, b] = [light(ink.slice(0, 3)), light(behind(one))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  count += 1;
  if (ratio < 4.5) wrong.push([ratio, one.outerHTML.slice(0, 120)]);
}
return [count, wrong];
"""
SWATCHES = """
const shown = (one) => one.checkVisibility();
return [...document.querySelectorAll(".swatch")].filter(shown).map((one) => {
  const style = getComputedStyle(one);
  return [one.className, style.backgroundColor, one.getBoundingClientRect().width];
});
"""


@pytest.fixture(params=REPORTS)
def report(request, device_bundle) -> BudgetReport:
    if request.param == "device":
        return on_boards(device_bundle)
    if request.param == "public":
        shared = request.getfixturevalue("shared")
        return on_boards(public_bundle(shared), allocate="one")
    if request.param == "long":
        return renamed(request.getfixturevalue("full"), LONG)
    return request.getfixturevalue(request.param)


def test_no_error_and_no_request(browser, written, report) -> None:
    path = written(as_html.render(report))
    browser.open(path)
    browser.run(SHOW_ALL)
    assert browser.logs("browser") == []
    assert [one for one in browser.requests() if not one.startswith("data:")] == [path.as_uri()]


def test_the_check_for_requests_sees_one(browser, written, one_fit) -> None:
    """What the test above relies on: a request is seen, and the page's policy stops it."""
    markup = as_html.render(one_fit).replace("</body>", '<img src="missing.png"></body>')
    browser.open(written(markup))
    assert any("Content Security Policy" in entry["message"] for entry in browser.logs("browser"))
    allowed = markup.replace("Content-Security-Policy", "X-Nothing")
    browser.open(written(allowed))
    assert any(one.endswith("missing.png") for one in browser.requests())
    browser.logs("browser")


@pytest.mark.parametrize("width", [360, 1200])
def test_charts_are_drawn_and_their_words_keep_within(browser, written, report, width) -> None:
    browser.open(written(as_html.render(report)), width)
    browser.run(SHOW_ALL)
    assert browser.run("return document.querySelectorAll('svg.treemap').length") >= 2
    assert browser.run(EMPTY_DRAWINGS) == []
    assert browser.run(OUTSIDE) == []
    assert browser.run(OVERLAPS) == []


def test_nothing_overflows_sideways(browser, written, report) -> None:
    browser.open(written(as_html.render(report)))
    browser.run(SHOW_ALL)
    for width in WIDTHS:
        browser.resize(width)
        widths = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
        assert widths == [width, width]


def test_nothing_overflows_on_paper(browser, written, full) -> None:
    browser.open(written(as_html.render(full)), 700)
    browser.print_media()
    assert browser.run("return document.documentElement.scrollWidth") == 700
    assert not browser.run("return document.querySelector('.choice').checkVisibility()")


@pytest.mark.parametrize("dark", [False, True])
def test_words_stand_out_from_what_is_behind_them(browser, written, report, dark) -> None:
    browser.open(written(as_html.render(report)), dark=dark)
    browser.run(SHOW_ALL)
    count, wrong = browser.run(CONTRASTS)
    assert count > 50
    assert wrong == []


def test_dark_and_light_differ(browser, written, one_fit) -> None:
    path = written(as_html.render(one_fit))
    colours = []
    for dark in (False, True):
        browser.open(path, dark=dark)
        colours.append(browser.run("return getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(255, 255, 255)", "rgb(20, 23, 27)"]


def test_every_swatch_has_the_colour_of_its_tile(browser, written, device_bundle) -> None:
    browser.open(written(as_html.render(on_boards(device_bundle))))
    for name, colour, width in browser.run(SWATCHES):
        assert colour != "rgba(0, 0, 0, 0)", name
        assert width > 5
        kind = name.split()[1]
        fill = browser.run(
            "const one = document.querySelector(`rect.tile.${arguments[0]}`);"
            "return one && getComputedStyle(one).fill", kind
        )  # fmt: skip
        assert fill in (colour, None) or kind == "model"


def test_the_choice_changes_the_check_that_is_shown(browser, written, full) -> None:
    browser.open(written(as_html.render(full)))
    look = """
    const charts = document.querySelector("section.charts");
    const panel = charts.querySelector(".panel");
    return [charts.querySelector("h2").textContent, panel.querySelector(".board").textContent,
            panel.dataset.check, panel.querySelectorAll("h3").length];
    """
    choose = """
    const select = document.querySelector("section.charts select");
    select.selectedIndex = arguments[0];
    select.dispatchEvent(new Event("change"));
    """
    assert browser.run("return document.querySelector('.choice').checkVisibility()")
    first = browser.run(look)
    assert first[:2] == [
        "kws on bluepill",
        "STM32F103C8 Blue Pill, cortex-m3 at 72 MHz, cmsis-nn-int8 kernels.",
    ]
    browser.run(choose, 1)
    second = browser.run(look)
    assert second[:2] == [
        "kws on nano33ble",
        "Arduino Nano 33 BLE Sense, cortex-m4 at 64 MHz, cmsis-nn-int8 kernels.",
    ]
    # This one has a time, too.
    assert second[3] == first[3] + 1
    assert browser.run(EMPTY_DRAWINGS) == []
    browser.run(choose, 0)
    assert browser.run(look) == first
    assert browser.logs("browser") == []


def test_it_is_readable_without_its_script(browser, written, full) -> None:
    browser.open(written(as_html.render(full)), script=False)
    visible = "return document.querySelectorAll(arguments[0]).length && " + (
        "[...document.querySelectorAll(arguments[0])].every((one) => one.checkVisibility())"
    )
    assert browser.run(visible, "table.checks") is True
    assert browser.run(visible, "svg.treemap.wide, svg.arena, svg.scatter") is True
    assert browser.run(visible, ".choice") is False


def test_printing_opens_every_table(browser, written, one_fit) -> None:
    browser.open(written(as_html.render(one_fit)))
    closed = "return [...document.querySelectorAll('details')].filter((one) => !one.open).length"
    assert browser.run(closed) > 3
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run(closed) == 0


def test_hostile_names_make_no_element(browser, written, full) -> None:
    browser.open(written(as_html.render(renamed(full, HOSTILE))))
    browser.run(SHOW_ALL)
    assert browser.run("return document.querySelectorAll('img, iframe, object').length") == 0
    assert browser.run("return document.querySelectorAll('script').length") == 1
    assert browser.run("return window.hacked ?? null") is None
    assert browser.run("return document.body.innerText.includes(arguments[0])", HOSTILE)
    assert browser.logs("browser") == []
    assert len([one for one in browser.requests() if not one.startswith("data:")]) == 1


def test_a_whole_page_is_pictured(browser, written, tmp_path, device_bundle) -> None:
    """A picture of every chart, with more than one colour in it."""
    markup = page(on_boards(device_bundle))
    browser.open(written(markup))
    picture = tmp_path / "page.png"
    browser.screenshot(picture)
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 50_000
