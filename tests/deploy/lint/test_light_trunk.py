"""A trunk lighter than its branches: shares of bytes and work, by tree."""

import pytest

from quantize.macs import macs

PATHS = {"one": ("trunk", "a"), "two": ("trunk", "b")}


def nodes_of(flatbuffer, trunk, branches):
    """Dense layers, so many in the trunk and in each branch."""
    layers = {"trunk": trunk, **branches}
    return {name: flatbuffer(*["FULLY_CONNECTED"] * count) for name, count in layers.items()}


def test_shares_of_a_light_trunk(flatbuffer, bundle_of, findings_of):
    nodes = nodes_of(flatbuffer, 1, {"a": 3, "b": 5})
    bundle = bundle_of(nodes, PATHS)
    (finding,) = findings_of(bundle, "light-trunk")
    sizes = {name: len(data) for name, data in nodes.items()}
    saved = 100 * sizes["trunk"] / (2 * sizes["trunk"] + sizes["a"] + sizes["b"])
    work = 100 * macs(nodes["trunk"]) / sum(macs(nodes[n]) for n in ("trunk", "trunk", "a", "b"))
    assert work == 10.0
    assert finding.where == ("trunk",)
    assert finding.text.endswith(f"sharing saves {saved:.0f} % of the bytes and 10 % of the work")
    assert (finding.memory, finding.saved_bytes) == ("", 0)


@pytest.mark.parametrize(
    ("trunk", "a", "b", "count"),
    [(3, 3, 3, 0), (2, 3, 3, 1), (3, 2, 3, 0), (3, 1, 8, 1), (9, 1, 1, 0)],
)
def test_the_mean_of_the_branches_decides(flatbuffer, bundle_of, findings_of, trunk, a, b, count):
    bundle = bundle_of(nodes_of(flatbuffer, trunk, {"a": a, "b": b}), PATHS)
    assert len(findings_of(bundle, "light-trunk")) == count


def test_one_task_shares_nothing(flatbuffer, bundle_of, findings_of):
    bundle = bundle_of(nodes_of(flatbuffer, 1, {"a": 5, "b": 5}), PATHS)
    assert findings_of(bundle, "light-trunk", tasks=("one",)) == []


def test_every_node_that_all_tasks_run_counts_as_shared(flatbuffer, bundle_of, findings_of):
    nodes = nodes_of(flatbuffer, 1, {"middle": 6, "a": 3, "b": 3})
    paths = {"one": ("trunk", "middle", "a"), "two": ("trunk", "middle", "b")}
    assert findings_of(bundle_of(nodes, paths), "light-trunk") == []
    light = nodes_of(flatbuffer, 1, {"middle": 1, "a": 9, "b": 9})
    (finding,) = findings_of(bundle_of(light, paths), "light-trunk")
    assert finding.where == ("trunk", "middle")
    assert finding.text.startswith("trunk and middle hold ")


def test_models_side_by_side_are_no_tree(public_models, bundle_of, findings_of):
    assert findings_of(bundle_of(public_models), "light-trunk") == []


def test_of_two_trees_the_light_one_is_named(flatbuffer, bundle_of, findings_of):
    nodes = {
        **nodes_of(flatbuffer, 8, {"a": 2, "b": 2}),
        **{f"x/{k}": v for k, v in nodes_of(flatbuffer, 1, {"a": 5, "b": 5}).items()},
    }
    paths = {**PATHS, "x/one": ("x/trunk", "x/a"), "x/two": ("x/trunk", "x/b")}
    (finding,) = findings_of(bundle_of(nodes, paths), "light-trunk")
    assert finding.where == ("x/trunk",)
