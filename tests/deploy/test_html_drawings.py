"""The drawings of the page: bytes are areas, peaks are heads, and words keep within their boxes."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_pages import on_boards, public_bundle

from deploy.board import load_board
from deploy.budget import check
from deploy.report.html.arena_picture import arena_picture, nice_step
from deploy.report.html.fitting import fitted, text_width
from deploy.report.html.panel import panel
from deploy.report.html.rom_chart import treemap
from deploy.report.html.rom_tiles import drawn_tiles, rom_tiles
from deploy.report.html.scatter import points, value_range
from deploy.report.html.treemap import Box, Tile, layout, squarify
from deploy.verdict import BudgetReport, Check


@pytest.fixture(params=["one_fit", "one_over", "twelve", "with_image", "full", "device"])
def report(request, device_bundle) -> BudgetReport:
    if request.param == "device":
        return on_boards(device_bundle)
    return request.getfixturevalue(request.param)


def assert_bytes_are_areas(placed, box: Box) -> None:
    """Leaves fill the box, in proportion to their bytes, and none lies upon another."""
    leaves = [one for one in placed if not one.tile.children]
    whole = sum(one.tile.size_bytes for one in leaves)
    for one in leaves:
        assert one.box.area == pytest.approx(box.area * one.tile.size_bytes / whole, rel=1e-6)
    assert sum(one.box.area for one in leaves) == pytest.approx(box.area)
    assert_apart([one.box for one in leaves], box)


def assert_apart(boxes: list[Box], within: Box) -> None:
    for one in boxes:
        assert one.x >= within.x - 1e-6
        assert one.y >= within.y - 1e-6
        assert one.x + one.width <= within.x + within.width + 1e-6
        assert one.y + one.height <= within.y + within.height + 1e-6
    for one, other in itertools.combinations(boxes, 2):
        wide = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
        high = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
        assert min(wide, high) <= 1e-6


def test_a_metric_has_a_chart_of_its_own(verdict_of) -> None:
    by_metric = points(verdict_of("nano33ble"))
    assert {metric: [one.task for one in some] for metric, some in by_metric.items()} == {
        "accuracy": ["digit", "orientation"],
        "mae": ["texture"],
    }
    text = panel(verdict_of("nano33ble"), "one")
    assert text.count('class="scatter"') == 2
    assert "mae (lower is better)" in text


@given(
    st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=5),
    st.booleans(),
)
def test_an_axis_holds_its_values(values: list[float], is_share: bool) -> None:
    if is_share:
        values = [abs(value) / 1e6 for value in values]
    low, high, step = value_range(values, is_share)
    slack = 1e-9 * max(1.0, abs(low), abs(high))
    assert low - slack <= min(values) <= max(values) <= high + slack
    assert 0.999 <= (high - low) / step <= 40
    if is_share:
        assert low >= 0
        assert high <= 1.01


@given(st.integers(1, 10**7), st.integers(1, 9))
def test_ticks_of_bytes_are_few_and_round(most: int, count: int) -> None:
    step = nice_step(most, count)
    assert step & (step - 1) == 0
    assert most / step <= count


@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=40),
    st.floats(10, 2000),
    st.floats(10, 2000),
)
def test_squares_are_in_proportion_and_fill_the_box(sizes, width, height) -> None:
    box = Box(3, 5, width, height)
    sizes = sorted(sizes, reverse=True)
    boxes = squarify(sizes, box)
    assert len(boxes) == len(sizes)
    for size, one in zip(sizes, boxes, strict=True):
        assert one.area == pytest.approx(box.area * size / sum(sizes), rel=1e-6, abs=1e-6)
    assert_apart(boxes, box)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        # The example of the paper, figure 4: six by four.
        (
            [6, 6, 4, 3, 2, 2, 1],
            [(0, 0, 3, 2), (0, 2, 3, 2), (3, 0, 1.714, 2.333), (4.714, 0, 1.286, 2.333)],
        ),
        ([5], [(0, 0, 6, 4)]),
        ([], []),
    ],
)
def test_known_squares(sizes, expected) -> None:
    boxes = squarify(sizes, Box(0, 0, 6, 4))
    for one, known in zip(boxes, expected, strict=False):
        assert (one.x, one.y, one.width, one.height) == pytest.approx(known, abs=1e-3)
    assert len(boxes) == len(sizes)


def test_tiles_of_nothing_have_no_place() -> None:
    root = Tile("all", "model", 3, (Tile("a", "model", 3), Tile("b", "model", 0)))
    assert [one.tile.name for one in layout(root, Box(0, 0, 3, 1))] == ["a"]


def test_the_treemap_is_what_the_check_counts(report) -> None:
    for verdict in report.verdicts:
        rom, tiles = verdict.rom, rom_tiles(verdict)
        used = [tile for tile in tiles if tile.kind != "free"]
        assert sum(tile.size_bytes for tile in used) == rom.used_bytes
        assert sum(tile.size_bytes for tile in tiles) == max(rom.used_bytes, rom.limit_bytes)
        assert drawn_tiles(tiles) in (tiles, tuple(used))
        box = Box(0, 0, 1000, 440)
        root = Tile("ROM", "model", sum(one.size_bytes for one in tiles), tiles)
        for parent in (one.tile for one in layout(root, box)):
            sizes = sum(one.size_bytes for one in parent.children)
            assert not parent.children or sizes == parent.size_bytes
        assert_bytes_are_areas(layout(root, box), box)


def test_free_space_is_drawn_where_it_leaves_room(verdict_of) -> None:
    half = rom_tiles(verdict_of("nano33ble", rom=120 * 1024))
    most = rom_tiles(verdict_of("nano33ble"))
    over = rom_tiles(verdict_of("nano33ble", rom=60 * 1024))
    assert drawn_tiles(half)[-1].kind == "free"
    assert most[-1].kind == "free"
    assert "free" not in {tile.kind for tile in (*drawn_tiles(most), *over)}


def test_nodes_are_split_by_flatbuffer_part_and_kernels_by_operator(device_bundle) -> None:
    (verdict,) = check(device_bundle, [Check("one", load_board("nano33ble"))]).verdicts
    tiles = {tile.kind: tile for tile in rom_tiles(verdict)}
    assert [node.name for node in tiles["model"].children] == ["trunk", "digit", "angle"]
    for node in tiles["model"].children:
        assert {"weights", "biases", "structure"} <= {part.name for part in node.children}
    by_operator = verdict.footprint.runtime.by_operator
    assert {one.name: one.size_bytes for one in tiles["kernels"].children} == by_operator


def test_drawn_rectangles_are_in_proportion(report) -> None:
    verdict = report.verdicts[0]
    tiles = drawn_tiles(rom_tiles(verdict))
    whole = sum(tile.size_bytes for tile in tiles)
    text = treemap(tiles, "one")
    rectangle = re.compile(
        r'<rect id="one-wide-[0-9]+" class="tile [a-z0-9 ]+" x="([0-9.]+)" y="([0-9.]+)" '
        r'width="([0-9.]+)" height="([0-9.]+)"><title>[^<]*: ([0-9,]+) bytes \([^)]+\), '
        r"([0-9.]+)% of all</title>"
    )
    found = rectangle.findall(text)
    assert len(found) == text.count('<rect id="one-wide-')
    boxes = [Box(*map(float, row[:4])) for row in found]
    for box, row in zip(boxes, found, strict=True):
        size = int(row[4].replace(",", ""))
        # Coordinates are written with two decimals.
        slack = 0.02 * (box.width + box.height)
        assert box.area == pytest.approx(1024 * 440 * size / whole, abs=slack)
        assert float(row[5]) == pytest.approx(100 * size / whole, abs=0.051)
    assert sum(int(row[4].replace(",", "")) for row in found) == whole


@pytest.mark.parametrize("allocate", ["all", "one"])
@pytest.mark.parametrize("kernels", ["reference", None])
def test_the_peak_of_the_drawing_is_the_head(device_bundle, allocate, kernels) -> None:
    for verdict in on_boards(device_bundle, allocate=allocate, kernels=kernels).verdicts:
        assert_pictures_are_true(verdict)


@pytest.mark.parametrize("allocate", ["all", "one"])
def test_the_peak_of_the_drawing_is_the_head_of_public_models(shared, allocate) -> None:
    for verdict in on_boards(public_bundle(shared), allocate=allocate).verdicts:
        assert_pictures_are_true(verdict)
        names = {"kws": 13, "resnet": 16}
        for task in verdict.footprint.tasks:
            picture = arena_picture(verdict, task)
            for name, operators in names.items():
                if name in task.lower():
                    assert len(picture.columns) >= operators


def assert_pictures_are_true(verdict) -> None:
    found = verdict.footprint
    for name, task in found.tasks.items():
        picture = arena_picture(verdict, name)
        assert "whole" not in {block.kind for block in picture.blocks}
        heads = [found.nodes[node].arena.head_bytes for node in task.path]
        ends = [block.offset_bytes + block.size_bytes for block in picture.blocks]
        assert max(ends) == max(heads) == picture.columns[picture.peak_column].top_bytes
        assert picture.head_bytes >= max(heads)
        assert picture.planning_bytes >= 0
        if found.allocate == "one":
            assert picture.head_bytes == max(heads)
            assert picture.arena_bytes == task.arena_bytes
        for one, other in itertools.combinations(picture.blocks, 2):
            at_once = (
                one.first_column < other.first_column + other.columns
                and other.first_column < one.first_column + one.columns
            )
            apart = (
                one.offset_bytes + one.size_bytes <= other.offset_bytes
                or other.offset_bytes + other.size_bytes <= one.offset_bytes
            )
            assert apart or not at_once


def test_the_limit_of_the_arena_is_what_else_the_check_counts_leaves(device_bundle) -> None:
    for allocate in ("all", "one"):
        for verdict in on_boards(device_bundle, allocate=allocate).verdicts:
            pictures = [arena_picture(verdict, task) for task in verdict.footprint.tasks]
            largest = max(pictures, key=lambda one: one.arena_bytes)
            free = verdict.ram.usable_bytes - verdict.ram.used_bytes
            assert largest.limit_bytes - largest.arena_bytes == free


def test_a_node_that_is_not_simulated_is_one_box(verdict_of) -> None:
    verdict = verdict_of("nano33ble")
    picture = arena_picture(verdict, "digit")
    assert [(block.kind, block.size_bytes) for block in picture.blocks] == [
        ("whole", 6_272),
        ("whole", 3_712),
    ]
    assert [column.label for column in picture.columns] == ["whole node", "whole node"]


@given(st.text(max_size=30), st.floats(0, 300), st.floats(6, 20), st.booleans())
def test_fitted_text_keeps_within_its_width(text, width, size, is_bold) -> None:
    shown = fitted(text, width, size, is_bold)
    assert text_width(shown, size, is_bold) <= width + 1e-6 or shown == ""
    assert shown == text or shown == "" or text.startswith(shown[:-1])


def test_a_letter_in_no_table_counts_as_wide() -> None:
    assert text_width("\N{CJK UNIFIED IDEOGRAPH-4E2D}", 10) > text_width("W", 10)
    assert text_width("abc", 10) == pytest.approx(10 * (0.65 + 0.65 + 0.56))
