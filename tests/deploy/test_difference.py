"""Comparing two sides: what changed, what is gone, what must be replaced, and the renderings."""

import json
from dataclasses import replace

import pytest
from made_forms import stored, with_int4

from deploy.board import load_board
from deploy.comparison.baseline import BaselineCheck
from deploy.comparison.baseline_file import BaselineError
from deploy.comparison.change import Change, Difference
from deploy.comparison.comparand import (
    MODEL,
    REPORT,
    BundleFacts,
    Comparand,
    Contract,
    NodeFacts,
    TaskFacts,
    comparand_of_bundle,
    comparand_of_report,
)
from deploy.comparison.difference import DifferenceError, compare
from deploy.report import as_json
from deploy.report.difference import as_json as difference_json
from deploy.report.difference import as_markdown as difference_markdown
from deploy.report.difference import terminal
from deploy.units import parse_allowance
from quantize.bundle import InputNormalization, Score

BANDS = {"rom": [(-1.0, 1.0)], "ram": [(-2.0, 3.0)], "time": [(-15.0, 20.0)]}
SEAM = "int8 1x4x4x8, scale {}, zero point -128"


def facts(size: int, content: str = "a", operators: tuple[str, ...] = ("CONV_2D",)) -> NodeFacts:
    return NodeFacts(size, content * 64, 20 * size, operators)


def side(origin: str, nodes: dict, tasks: dict, checks: dict, scale: float = 0.05) -> Comparand:
    """A bundle of a trunk and branches, with figures per board."""
    branches = tuple(name for name in nodes if name != "trunk")
    contracts = {("seam", "trunk"): Contract("seam", "trunk", SEAM.format(scale), branches)}
    found = {
        name: BaselineCheck(name, rom, ram, us, {}, operators)
        for name, (rom, ram, us, operators) in checks.items()
    }
    facts = BundleFacts("demo", nodes, tasks, contracts)
    return Comparand(origin, "bundle", (facts,), found, {key: list(BANDS[key]) for key in BANDS})


OLD = side(
    "build/old",
    {
        "trunk": facts(9_120),
        "digit": facts(5_012, "b"),
        "angle": facts(1_000, "c", ("TANH",)),
        "wake": facts(700),
    },
    {
        "digit": TaskFacts(("trunk", "digit"), "accuracy", 0.9812, 0.9794),
        "angle": TaskFacts(("trunk", "angle"), "mae", 0.052, 0.054),
        "wake": TaskFacts(("trunk", "wake"), "accuracy", 0.9, 0.9),
    },
    {
        "nano33ble": (64_000, 11_772, 85_200.0, {"CONV_2D": 9_000, "TANH": 2_400}),
        "pico": (90_000, 12_000, None, {"CONV_2D": 18_000, "TANH": 4_000}),
        "pico2": (60_000, 12_000, None, {"CONV_2D": 8_000}),
    },
)
NEW = side(
    "build/new",
    {
        "trunk": facts(9_120, "d"),
        "digit": facts(6_036, "e"),
        "texture": facts(3_374, "f", ("SOFTMAX",)),
        "wake": facts(700),
    },
    {
        "digit": TaskFacts(("trunk", "digit"), "accuracy", 0.9812, 0.9712),
        "texture": TaskFacts(("trunk", "texture")),
        "wake": TaskFacts(("trunk", "wake"), "accuracy", 0.9, 0.9),
    },
    {
        "nano33ble": (66_100, 11_700, 91_300.0, {"CONV_2D": 9_000, "SOFTMAX": 6_939}),
        "pico": (97_000, 12_000, None, {"CONV_2D": 18_000, "SOFTMAX": 11_527}),
        "pico2": (60_000, 12_000, None, {"CONV_2D": 8_000}),
    },
    scale=0.06,
)


@pytest.fixture
def grown() -> Difference:
    return compare(OLD, NEW, parse_allowance("2 KiB", "--allow-growth"))


def by_name(changes) -> dict:
    return {change.name: change for change in changes}


def test_every_node_of_either_side_is_there_once(grown):
    words = {change.name: change.word for change in grown.nodes}
    assert words == {
        "trunk": "changed", "digit": "changed", "texture": "new", "angle": "gone", "wake": "same",
    }  # fmt: skip
    assert sum(change.delta for change in grown.nodes) == grown.model.delta == 3_398
    assert (grown.model.old, grown.model.new) == (15_832, 19_230)
    deltas = [abs(change.delta) for change in grown.nodes]
    assert deltas == sorted(deltas, reverse=True)


def test_other_bytes_of_the_same_size_are_a_change(grown):
    trunk = by_name(grown.nodes)["trunk"]
    assert (trunk.delta, trunk.word) == (0, "changed")


def test_the_operators_with_their_rom_on_each_board(grown):
    new, gone = grown.operators
    assert (new.name, new.is_new) == ("SOFTMAX", True)
    assert new.rom_bytes == {"nano33ble": 6_939, "pico": 11_527}
    assert (gone.name, gone.is_new) == ("TANH", False)
    assert gone.rom_bytes == {"nano33ble": 2_400, "pico": 4_000}


def test_the_form_of_a_node_is_told_where_it_is_another(device_bundle):
    boards = [load_board("nano33ble")]
    old = comparand_of_bundle(device_bundle, "old", boards)
    small = stored(device_bundle, trunk=with_int4)
    trunk = replace(small.nodes["trunk"], precision="int4")
    small = replace(small, nodes={**small.nodes, "trunk": trunk})
    new = comparand_of_bundle(small, "new", boards)
    found = compare(old, new)
    nodes = by_name(found.nodes)
    assert nodes["trunk"].precisions == ("int8", "int4")
    assert not nodes["digit"].has_other_precision
    assert "trunk (int8 -> int4)" in terminal.render(found, width=120)
    assert "int8 -> int4" in difference_markdown.render(found)
    forms = {
        node["name"]: node.get("precision") for node in difference_json.as_dict(found)["nodes"]
    }
    assert forms["trunk"] == {"old": "int8", "new": "int4"}
    assert forms["digit"] is None


def test_an_operator_in_another_form_is_not_another_operator():
    """A baseline lists kernels as they are linked, a bundle the operators of its nodes."""
    linked = {"CONV_2D:INT4": 14_590, "CONV_2D": 8_783, "TFLM_DECODE": 6_364}
    before = BaselineCheck("nano33ble", 1, 1, None, {"trunk": 9_120}, {"CONV_2D:INT4": 14_590})
    now = BaselineCheck("nano33ble", 1, 1, None, {"trunk": 9_120}, linked)
    sides = [Comparand("a", REPORT, (), {"nano33ble": one}) for one in (before, now)]
    (new,) = compare(*sides).operators
    assert (new.name, new.is_new, new.rom_bytes) == ("TFLM_DECODE", True, {"nano33ble": 6_364})
    (gone,) = compare(sides[0], side("b", {"trunk": facts(9_120, "a", ())}, {}, {})).operators
    assert (gone.name, gone.is_new) == ("CONV_2D", False)
    alike = side("b", {"trunk": facts(9_120)}, {}, {})
    assert compare(sides[0], alike).operators == ()


def test_the_boards_largest_change_first(grown):
    assert [check.name for check in grown.checks] == ["pico", "nano33ble", "pico2"]
    nano = by_name(grown.checks)["nano33ble"]
    assert (nano.rom.delta, nano.ram.delta, nano.time.delta) == (2_100, -72, 6_100)
    assert by_name(grown.checks)["pico"].time is None
    assert by_name(grown.checks)["pico2"].word == "same"


def test_a_time_of_one_side_only_is_not_compared():
    known = Comparand("a", REPORT, (), {"x": BaselineCheck("x", 1, 1, 5.0)})
    unknown = Comparand("b", REPORT, (), {"x": BaselineCheck("x", 1, 1)})
    assert compare(known, unknown).is_none
    assert compare(known, known).checks[0].time.delta == 0


def test_tasks_whose_scores_changed(grown):
    tasks = by_name(grown.tasks)
    assert {name: task.word for name, task in tasks.items()} == {
        "digit": "changed", "texture": "new", "angle": "gone",
    }  # fmt: skip
    assert tasks["digit"].delta == pytest.approx(-0.0082)


def test_a_changed_seam_names_every_branch_on_either_side(grown):
    (contract,) = grown.contracts
    assert contract.consumers == ("digit", "angle", "wake", "texture")
    assert "must be replaced on devices together with trunk: digit, angle" in contract.message
    assert (contract.old, contract.new) == (SEAM.format(0.05), SEAM.format(0.06))


@pytest.mark.parametrize(
    ("allowed", "too_much"),
    [
        ("2 KiB", ["ROM of pico", "ROM of nano33ble"]),
        ("2100 B", ["ROM of pico"]),  # 2,100 bytes more are just allowed
        ("2099 B", ["ROM of pico", "ROM of nano33ble"]),
        ("7000 B", []),
        ("3 %", ["ROM of pico", "ROM of nano33ble"]),
        ("5 %", ["ROM of pico"]),
        ("8 %", []),
    ],
)
def test_growth_against_what_is_allowed(allowed, too_much):
    found = compare(OLD, NEW, parse_allowance(allowed, "--allow-growth"))
    assert [f"{one.memory} of {one.where}" for one in found.too_much] == too_much
    assert found.fits == (not too_much)


def test_a_growth_message_says_which_by_how_much_and_what_is_allowed(grown):
    assert grown.too_much[1].message == (
        "ROM of nano33ble grew by 2.1 KiB (2,100 B), from 62.5 KiB (64,000 B) to 64.6 KiB "
        "(66,100 B); allowed are 2.0 KiB (2,048 B)"
    )


def test_nothing_is_held_without_an_allowance():
    found = compare(OLD, NEW)
    assert found.fits
    assert found.growths == ()


def test_a_side_against_itself_is_no_difference():
    found = compare(OLD, OLD, parse_allowance("0 B", "--allow-growth"))
    assert found.is_none
    assert found.fits
    assert len(found.growths) == 6


def test_turned_around_every_change_changes_its_sign(grown):
    turned = compare(NEW, OLD)
    for name, change in by_name(grown.nodes).items():
        back = by_name(turned.nodes)[name]
        assert (back.old, back.new, back.delta) == (change.new, change.old, -change.delta)
    assert {one.name for one in turned.operators if one.is_new} == {
        one.name for one in grown.operators if not one.is_new
    }


@pytest.mark.parametrize(
    ("old", "new", "percent"),
    [(100, 150, 50.0), (100, 0, -100.0), (0, 5, None), (None, 5, None), (5, None, None)],
)
def test_percent(old, new, percent):
    assert Change("x", old, new).percent == percent


# Bundles on disk and in memory


def comparand(bundle, origin="bundle", kind="bundle", *boards) -> Comparand:
    return comparand_of_bundle(bundle, origin, list(map(load_board, boards)), kind=kind)


def test_real_bundles(device_bundle):
    without = device_bundle.select("angle")
    found = compare(
        comparand(without, "old", "bundle", "nano33ble", "pico"),
        comparand(device_bundle, "new", "bundle", "nano33ble", "pico"),
    )
    assert {node.name: node.word for node in found.nodes} == {
        "trunk": "same", "angle": "same", "digit": "new",
    }  # fmt: skip
    (softmax,) = found.operators
    assert (softmax.name, softmax.is_new) == ("SOFTMAX", True)
    assert set(softmax.rom_bytes) == {"nano33ble", "pico"}
    digit = device_bundle.nodes["digit"].rom_bytes
    assert all(check.rom.delta > digit for check in found.checks)  # and code on top of it
    # A branch more is no change of the seam: nothing on a device need be replaced.
    assert found.contracts == ()
    assert found.macs.delta == device_bundle.nodes["digit"].macs


def changed_seam(bundle):
    """The trunk's output on another scale, and the branches converted for it."""
    (seam,) = bundle.seams
    scale = seam.scale * 2
    nodes = {
        "trunk": replace(bundle.nodes["trunk"], output=replace(seam_spec(bundle), scale=scale)),
        **{
            name: replace(bundle.nodes[name], input=replace(seam_spec(bundle), scale=scale))
            for name in seam.consumers
        },
    }
    return replace(bundle, nodes=nodes, seams=(replace(seam, scale=scale),))


def seam_spec(bundle):
    return bundle.nodes["trunk"].output


def test_contracts_of_real_bundles(device_bundle):
    (seam,) = compare(comparand(device_bundle), comparand(changed_seam(device_bundle))).contracts
    assert (seam.kind, seam.node, set(seam.consumers)) == ("seam", "trunk", {"digit", "angle"})

    normalization = replace(device_bundle.input_normalization, offset=-0.5)
    fed = replace(device_bundle, input_normalization=normalization)
    (contract,) = compare(comparand(device_bundle), comparand(fed)).contracts
    assert (contract.kind, contract.node) == ("input", "trunk")
    assert "+ -0.5" in contract.new

    digit = device_bundle.tasks["digit"]
    turned = replace(digit, labels=tuple(reversed(digit.labels)))
    relabelled = replace(device_bundle, tasks={**device_bundle.tasks, "digit": turned})
    (contract,) = compare(comparand(device_bundle), comparand(relabelled)).contracts
    assert (contract.kind, contract.node) == ("output", "digit")


@pytest.mark.parametrize("count", [5, 40])
def test_many_labels_are_compared_too(device_bundle, count):
    def labelled(last: str):
        labels = (*(f"class {index}" for index in range(count - 1)), last)
        digit = replace(device_bundle.tasks["digit"], labels=labels)
        return comparand(replace(device_bundle, tasks={**device_bundle.tasks, "digit": digit}))

    assert compare(labelled("a"), labelled("a")).contracts == ()
    (contract,) = compare(labelled("a"), labelled("b")).contracts
    assert len(contract.new) < 250


def test_samples_that_are_taken_as_they_are(device_bundle):
    plain = replace(device_bundle, input_normalization=InputNormalization())
    (contract,) = compare(comparand(plain), comparand(device_bundle)).contracts
    assert "raw" not in contract.old
    assert contract.new.startswith(contract.old)


def test_scores_of_real_bundles(device_bundle):
    def scored(value: float):
        score = Score("accuracy", 0.98, value, 450, 0.99, 31.2, 0.08, None)
        digit = replace(device_bundle.tasks["digit"], score=score)
        return comparand(replace(device_bundle, tasks={**device_bundle.tasks, "digit": digit}))

    assert compare(scored(0.97), scored(0.97)).is_none
    assert compare(scored(float("nan")), scored(float("nan"))).is_none
    (task,) = compare(scored(0.97), scored(0.96)).tasks
    assert task.delta == pytest.approx(-0.01)


def lone(name: str, size: int) -> Comparand:
    bundle = BundleFacts(name, {name: facts(size)}, {name: TaskFacts((name,))})
    return Comparand(f"{name}.tflite", MODEL, (bundle,), {})


def test_two_lone_files_are_one_node_whatever_their_names():
    found = compare(lone("kws-v1", 1_000), lone("kws-v2", 1_200))
    (node,) = found.nodes
    assert (node.name, node.word, node.delta) == ("kws-v2", "changed", 200)
    assert found.tasks == ()


# Reports and baselines


def baseline(origin: str, **checks: dict) -> Comparand:
    found = {
        name: BaselineCheck(name, rom, 100, None, nodes) for name, (rom, nodes) in checks.items()
    }
    return Comparand(origin, REPORT, (), found)


def test_baselines_are_compared_by_check():
    old = baseline("old", a=(10, {"trunk": 5}), b=(20, {"trunk": 5}))
    new = baseline("new", a=(13, {"trunk": 8}), c=(30, {"trunk": 8, "digit": 2}))
    found = compare(old, new)
    assert {one.name: one.word for one in found.checks} == {
        "a": "changed", "b": "gone", "c": "new",
    }  # fmt: skip
    assert {one.name: one.word for one in found.nodes} == {"trunk": "changed", "digit": "new"}
    assert found.macs is None
    # A check that is new or gone has no growth.
    held = compare(old, new, parse_allowance("0 B", "--allow-growth")).growths
    assert {one.where for one in held} == {"a"}


def test_equal_names_of_different_nodes_are_kept_apart():
    old = baseline("old", kws=(10, {"trunk": 5}), image=(20, {"trunk": 9}))
    new = baseline("new", kws=(10, {"trunk": 5}), image=(20, {"trunk": 8}))
    found = compare(old, new)
    assert {node.name: node.delta for node in found.nodes} == {
        "trunk (kws)": 0, "trunk (image)": -1,
    }  # fmt: skip
    assert found.model is None


def document(report) -> dict:
    return json.loads(as_json.render(report))


def test_two_whole_reports_know_nodes_scores_and_checks(report_of, verdict_of):
    before = document(report_of(verdict_of("pico")))
    after = json.loads(json.dumps(before))
    after["bundles"][0]["nodes"][0]["sha256"] = "0" * 64
    after["bundles"][0]["tasks"][0]["score"]["int8"] = 0.5
    after["checks"][0]["ram"]["used_bytes"] += 4
    found = compare(comparand_of_report(before, "old"), comparand_of_report(after, "new"))
    assert [one.name for one in found.nodes if one.word == "changed"] == ["trunk"]
    assert [one.name for one in found.tasks] == ["digit"]
    assert found.checks[0].ram.delta == 4
    assert found.contracts == ()
    assert compare(comparand_of_report(before, "a"), comparand_of_report(before, "b")).is_none


def test_reports_of_several_bundles_name_the_bundle(report_of, verdict_of):
    one = document(report_of(verdict_of("pico")))
    two = json.loads(json.dumps(one))
    two["bundles"].append({**two["bundles"][0], "name": "second"})
    found = compare(comparand_of_report(one, "old"), comparand_of_report(two, "new"))
    words = {node.name: node.word for node in found.nodes}
    assert words["demo/trunk"] == "same"
    assert words["second/trunk"] == "new"


def test_of_a_bundle_and_a_report_the_nodes_are_compared(device_bundle):
    sizes = {name: node.rom_bytes for name, node in device_bundle.nodes.items()}
    sizes["trunk"] -= 16
    check = BaselineCheck("any", 1, 1, None, sizes, {"CONV_2D": 1, "TANH": 2})
    report = Comparand("baseline.json", REPORT, (), {"any": check})
    found = compare(report, comparand(device_bundle), parse_allowance("16 B", "--allow-growth"))
    assert {node.name: node.delta for node in found.nodes} == {"trunk": 16, "digit": 0, "angle": 0}
    assert found.checks == ()
    assert [one.name for one in found.operators if not one.is_new] == ["TANH"]
    (held,) = found.growths
    assert (held.memory, held.is_too_much) == ("the model", False)
    assert "keras-tree check BUNDLE --baseline FILE" in found.notes[0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            baseline("a", x=(1, {"t": 1})),
            baseline("b", y=(1, {"u": 1})),
            "checks x, nodes t against",
        ),
        (baseline("a", x=(1, {"t": 1})), lone("kws", 5), "a bundle and a report are compared by"),
        (lone("kws", 5), baseline("a", x=(1, {})), "received none in common: kws against none"),
    ],
)
def test_nothing_in_common(old, new, said):
    with pytest.raises(DifferenceError, match=said):
        compare(old, new)


def test_an_allowance_needs_something_to_hold():
    old = baseline("old", a=(10, {"t": 5}), b=(20, {"t": 6, "u": 1}))
    new = baseline("new", c=(10, {"u": 1}))
    with pytest.raises(DifferenceError, match="needs a board or check that both sides have"):
        compare(old, new, parse_allowance("1 KiB", "--allow-growth"))


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("bundles",), {}, "`bundles` must be a list, received an object"),
        (("bundles", 0), 5, r"bundles\[0\]: a JSON object is expected"),
        (("bundles", 0, "name"), "\x1b[2J", "`name` must be a printable text"),
        (("bundles", 0, "nodes"), None, "`nodes` must be a list, received nothing"),
        (("bundles", 0, "nodes", 0, "bytes"), -1, r"nodes\[0\]: `bytes` must be a whole number"),
        (("bundles", 0, "nodes", 0, "macs"), 1.5, "`macs` must be a whole number"),
        (("bundles", 0, "nodes", 0, "sha256"), 7, "`sha256` must be a printable text"),
        (("bundles", 0, "nodes", 0, "operators", 0), [], r"operators\[0\]: `operators` must be"),
        (("bundles", 0, "tasks", 0), "x", r"tasks\[0\]: a JSON object is expected"),
        (("bundles", 0, "tasks", 0, "path"), "x", "`path` must be a list"),
        (("bundles", 0, "tasks", 0, "score"), 0.5, "score: a JSON object is expected"),
        (("bundles", 0, "tasks", 0, "score", "int8"), "x", "`int8` must be a number or null"),
        (("bundles", 0, "tasks", 0, "score", "float"), 1e300, "`float` must be a number or null"),
        (("checks", 0, "rom"), None, "`rom` must be an object"),
    ],
)
def test_a_hostile_report_gives_one_error(report_of, verdict_of, keys, value, said):
    told = document(report_of(verdict_of("pico")))
    place = told
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    with pytest.raises(BaselineError, match=said) as caught:
        comparand_of_report(told, "report.json")
    assert str(caught.value).startswith("report.json: ")


# Renderings


def test_the_error_told_is_the_widest_of_both_sides():
    other = replace(OLD, error_percent={"rom": [(-9.0, 0.1)], "ram": [(0.0, 0.0)]})
    found = compare(other, OLD).error_percent
    assert found == {"rom": (-9.0, 1.0), "ram": (-2.0, 3.0), "time": (-15.0, 20.0)}


@pytest.mark.parametrize("width", [80, 120])
def test_terminal(grown, assert_golden, width):
    text = terminal.render(grown, width=width)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= width
    assert_golden(text, f"diff_terminal_{width}.txt")


def test_terminal_in_colour(grown, assert_golden):
    assert_golden(terminal.render(grown, colour=True), "diff_terminal_colour.txt")


def test_terminal_without_a_difference(assert_golden):
    found = compare(OLD, replace(OLD, origin="build/new"), parse_allowance("1 %", "x"))
    assert_golden(terminal.render(found), "diff_terminal_same.txt")


def test_markdown(grown, assert_golden):
    assert_golden(difference_markdown.render(grown), "diff_grown.md")


def test_markdown_without_a_difference(assert_golden):
    assert_golden(difference_markdown.render(compare(OLD, OLD)), "diff_same.md")


def test_json(grown, assert_golden):
    assert_golden(difference_json.render(grown), "diff_grown.json")


def test_json_is_a_superset_of_the_screen(grown):
    told = difference_json.render(grown)
    for figure in ("3374", "2100", "91300.0", "0.9712", "SOFTMAX", "11527", "build/old"):
        assert figure in told


def test_names_of_strangers_are_no_markup():
    name = "a|b`<script>@you#1*_[x](y)"
    old = baseline("old", **{name: (1, {name: 1})})
    new = baseline("new", **{name: (2, {name: 2})})
    text = difference_markdown.render(compare(old, new))
    assert "<script>" not in text
    assert "@you" not in text
    assert "[x](y)" not in text
    assert "a\\|b" in text


def test_a_long_name_keeps_the_table_in_order():
    name = "-a-node-of-a-very-long-name-" * 6
    old = baseline("old", x=(1, {name: 1}))
    new = baseline("new", x=(1, {name: 2}))
    text = terminal.render(compare(old, new), width=72)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 72
    assert name in "".join(line.strip() for line in lines)
    # Only the lines of changes are coloured, not the rest of a name that begins with a dash.
    coloured = terminal.render(compare(old, new), width=72, colour=True).splitlines()
    assert [line for line in coloured if line.lstrip().startswith("-")]
    assert sum("\x1b[33m" in line for line in coloured) == 2  # the node, the total
    assert sum("\x1b[32m" in line for line in coloured) == 0


def test_a_task_that_takes_another_path_is_said():
    nodes = dict(OLD.bundles[0].nodes)
    detour = {"digit": TaskFacts(("trunk", "wake", "digit"), "accuracy", 0.9812, 0.9794)}
    moved = side("new", nodes, {**OLD.bundles[0].tasks, **detour}, {})
    found = compare(replace(OLD, checks={}), moved)
    said = "digit runs trunk > wake > digit, not trunk > digit"
    assert said in terminal.render(found)
    assert said.replace(">", "&gt;") in difference_markdown.render(found).replace(">", "&gt;")
