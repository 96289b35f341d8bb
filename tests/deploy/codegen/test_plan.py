"""No two tensors that are needed at once share a byte; and no plan is above TFLM's."""

import numpy as np
import pytest

from deploy.codegen.constants import ConstantStore
from deploy.codegen.lowering.node import lower_node
from deploy.codegen.placing import Block, place
from deploy.codegen.plan import make_plan
from deploy.codegen.program import Call, CodegenError, NodeProgram, Operand, Scratch, Step, Value
from deploy.footprint.memory_planner import PlannedBuffer, plan_bytes
from deploy.footprint.ram import node_arena
from deploy.models import load_models

MODELS = (
    "mlperftiny__ad01_int8.tflite",
    "mlperftiny__kws_ref_model.tflite",
    "mlperftiny__pretrainedResnet_quant.tflite",
    "tflm__micro_speech_quantized.tflite",
)


def step(reads, writes, in_place=(), scratch=0) -> Step:
    call = Call("kt_any", (*map(Operand, reads), *map(Operand, writes), Scratch(scratch)))
    return Step("any", "ANY", (call,), tuple(reads), tuple(writes), tuple(in_place))


def node(name, sizes, steps, input, output) -> NodeProgram:
    values = tuple(Value(i, size, f"tensor {i}") for i, size in enumerate(sizes))
    return NodeProgram(name, values, tuple(steps), input, output)


class Memory:
    """The buffer, every byte marked with what was written there."""

    def __init__(self, plan) -> None:
        self.plan = plan
        self.bytes: list[object] = [None] * plan.buffer_bytes

    def write(self, key, size, mark) -> None:
        offset = self.plan.offsets[key]
        assert offset % 4 == 0
        assert offset + size <= self.plan.buffer_bytes
        self.bytes[offset : offset + size] = [mark] * size

    def holds(self, key, size, mark) -> bool:
        offset = self.plan.offsets[key]
        return self.bytes[offset : offset + size] == [mark] * size

    def run(self, path, passed) -> object:
        """Run nodes, every read checked; returns the mark of the output."""
        for name in path:
            one = self.plan.nodes[name]
            marks = {one.input: passed}
            for index, work in enumerate(one.steps):
                self.step(one, index, work, marks)
            passed = marks[one.output]
            size = one.values[one.output].size_bytes
            assert self.holds((name, one.output), size, passed), f"output of {name}"
        return passed

    def step(self, one, index, work, marks) -> None:
        def size(value):
            return one.values[value].size_bytes

        scratch = (one.name, -1 - index)
        if work.scratch_bytes:
            self.write(scratch, work.scratch_bytes, "scratch")
        for value in work.reads:
            assert self.holds((one.name, value), size(value), marks[value]), (one.name, index)
        for value in work.writes:
            marks[value] = (one.name, index, value, object())
            self.write((one.name, value), size(value), marks[value])
        for value in work.writes:
            assert self.holds((one.name, value), size(value), marks[value])
        starts = {self.plan.offsets[one.name, value] for value in work.writes}
        for value in work.reads:
            is_over = value in work.in_place and self.plan.offsets[one.name, value] in starts
            assert is_over or self.holds((one.name, value), size(value), marks[value])
        assert not work.scratch_bytes or self.holds(scratch, work.scratch_bytes, "scratch")


def assert_plan_holds(plan, paths) -> None:
    """Run every path, and behind each every branch that may go on from what it left.

    Branches of the deepest seam go first: those that begin earlier may write over it.
    """
    for path in paths.values():
        seams: dict[tuple[str, ...], object] = {}
        memory = Memory(plan)
        first = plan.nodes[path[0]]
        memory.write((path[0], first.input), first.values[first.input].size_bytes, "input")
        passed: object = "input"
        for length in range(1, len(path) + 1):
            passed = memory.run(path[length - 1 : length], passed)
            if tuple(path[:length]) in plan.kept:
                seams[tuple(path[:length])] = passed
        for prefix, mark in reversed(seams.items()):
            for other in [*paths.values(), *paths.values()]:
                if tuple(other[: len(prefix)]) == prefix:
                    memory.run(other[len(prefix) :], mark)


def random_node(random, name, before, after=None) -> NodeProgram:
    """A node from `before` bytes to `after`, or any."""
    sizes, steps = [before], []
    for _ in range(int(random.integers(0 if after is None else 1, 7))):
        count = int(random.integers(1, min(3, len(sizes)) + 1))
        reads = [int(i) for i in random.choice(len(sizes), count, replace=False)]
        recent = len(sizes) - 1
        if random.random() < 0.8 and recent not in reads:
            reads.append(recent)
        in_place = []
        size = int(random.integers(1, 60))
        if random.random() < 0.5:
            size = sizes[reads[-1]]
            in_place = [i for i in reads if sizes[i] == size]
        writes = [len(sizes)]
        sizes.append(size)
        if random.random() < 0.1:
            writes.append(len(sizes))
            sizes.append(size)
            in_place = []
        steps.append(step(reads, writes, in_place, int(random.integers(0, 2) * 24)))
    if after is not None:
        steps.append(step([len(sizes) - 1], [len(sizes)], [len(sizes) - 1] * (sizes[-1] == after)))
        sizes.append(after)
    return node(name, sizes, steps, 0, len(sizes) - 1)


def random_tree(random) -> tuple[dict, dict]:
    """A trunk, nodes in the middle, and branches."""
    nodes = {"trunk": random_node(random, "trunk", int(random.integers(1, 80)))}
    ways = [("trunk",)]
    for number in range(int(random.integers(1, 6))):
        way = ways[int(random.integers(len(ways)))]
        last = nodes[way[-1]]
        name = f"node {number}"
        nodes[name] = random_node(random, name, last.values[last.output].size_bytes)
        ways.append((*way, name))
    leaves = [w for w in ways if not any(w == v[:-1] for v in ways)] + ways[1:2]
    paths = {f"task {i}": way for i, way in enumerate(dict.fromkeys(leaves))}
    return nodes, paths


@pytest.mark.parametrize("keep_seams", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_random_trees_lose_nothing(seed, keep_seams):
    nodes, paths = random_tree(np.random.default_rng(seed))
    plan = make_plan(nodes, paths, keep_seams)
    assert_plan_holds(plan, paths)
    assert plan.least_bytes <= plan.buffer_bytes
    if not keep_seams:
        assert not plan.kept


@pytest.mark.parametrize("seed", range(30))
def test_paths_that_skip_nodes_lose_nothing(seed):
    random = np.random.default_rng(seed)
    nodes = {"trunk": random_node(random, "trunk", 30, 40)}
    blocks = [f"block {i}" for i in range(4)]
    nodes |= {name: random_node(random, name, 40, 40) for name in blocks}
    nodes |= {name: random_node(random, name, 40) for name in ("head a", "head b")}
    paths = {
        task: ("trunk", *(b for b in blocks if random.random() < 0.5), f"head {task}")
        for task in ("a", "b")
    }
    nodes = {name: one for name, one in nodes.items() if any(name in p for p in paths.values())}
    assert_plan_holds(make_plan(nodes, paths, True), paths)


def test_the_check_finds_a_wrong_plan():
    nodes = {"a": node("a", [8, 8, 8], [step([0], [1]), step([0, 1], [2])], 0, 2)}
    plan = make_plan(nodes, {"t": ("a",)}, False)
    plan.offsets["a", 1] = plan.offsets["a", 0]
    with pytest.raises(AssertionError):
        assert_plan_holds(plan, {"t": ("a",)})


def test_a_dying_input_is_written_over():
    nodes = {"a": node("a", [100, 100], [step([0], [1], [0])], 0, 1)}
    assert make_plan(nodes, {"t": ("a",)}, False).buffer_bytes == 112


def test_an_input_that_is_read_later_is_not_written_over():
    steps = [step([0], [1], [0]), step([0, 1], [2])]
    plan = make_plan({"a": node("a", [100, 100, 4], steps, 0, 2)}, {"t": ("a",)}, False)
    assert plan.buffer_bytes == 208


def test_a_kept_seam_is_not_written_over():
    nodes = {
        "trunk": node("trunk", [10, 100], [step([0], [1])], 0, 1),
        "a": node("a", [100, 100], [step([0], [1], [0])], 0, 1),
        "b": node("b", [100, 4], [step([0], [1])], 0, 1),
    }
    paths = {"a": ("trunk", "a"), "b": ("trunk", "b")}
    free, kept = (make_plan(nodes, paths, keep) for keep in (False, True))
    assert (free.buffer_bytes, kept.buffer_bytes) == (112, 208)
    assert free.kept == frozenset()
    assert kept.kept == {("trunk",)}


def test_a_seam_is_one_piece_of_memory():
    random = np.random.default_rng(0)
    nodes = {"trunk": random_node(random, "trunk", 30, 40)}
    nodes |= {name: random_node(random, name, 40, 9) for name in "ab"}
    plan = make_plan(nodes, {"a": ("trunk", "a"), "b": ("trunk", "b")}, True)
    places = {("trunk", nodes["trunk"].output), ("a", 0), ("b", 0)}
    assert len({plan.offsets[place] for place in places}) == 1


def test_a_block_between_equal_seams_is_staged():
    block = node("block", [40, 40, 40], [step([0], [1]), step([0, 1], [2])], 0, 2)
    nodes = {
        "trunk": node("trunk", [10, 40], [step([0], [1])], 0, 1),
        "block": block,
        "head": node("head", [40, 4], [step([0], [1])], 0, 1),
    }
    paths = {"long": ("trunk", "block", "head"), "short": ("trunk", "head")}
    plan = make_plan(nodes, paths, True)
    assert len(plan.nodes["block"].steps) == 3
    assert not plan.kept
    assert_plan_holds(plan, paths)


def test_a_seam_of_two_lengths_is_refused():
    nodes = {"a": node("a", [4], [], 0, 0), "b": node("b", [8], [], 0, 0)}
    with pytest.raises(CodegenError, match="nodes 'a' and 'b': one seam of equal length"):
        make_plan(nodes, {"t": ("a", "b")}, False)


def test_no_path_is_refused():
    with pytest.raises(CodegenError, match="`paths` must hold a path"):
        make_plan({}, {}, False)


def lone_plan(data, isa="portable"):
    lowered = lower_node("net", data, ConstantStore(), isa)
    return make_plan({"net": lowered}, {"net": ("net",)}, False)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("isa", ["portable", "dsp", "mve"])
def test_public_models_stay_within_the_head(shared, name, isa):
    (data,) = (one.data for one in load_models([shared / "models" / name]).nodes.values())
    head = node_arena(data, "cortex-m4", "reference").head_bytes
    plan = lone_plan(data, isa)
    scratch = max((one.scratch_bytes for one in plan.nodes["net"].steps), default=0)
    assert plan.buffer_bytes <= head + -(-scratch // 16) * 16
    assert isa != "portable" or not scratch
    assert_plan_holds(plan, {"net": ("net",)})


@pytest.mark.parametrize("seed", range(80))
def test_random_networks_stay_within_the_head(seed, networks, flatbuffer_writer):
    data = networks.random_network(flatbuffer_writer(), seed)
    plan = lone_plan(data)
    assert plan.buffer_bytes <= node_arena(data, "cortex-m4", "reference").head_bytes
    assert plan.buffer_bytes == -(-plan.least_bytes // 16) * 16
    assert_plan_holds(plan, {"net": ("net",)})


@pytest.mark.parametrize("task", ["digit", "angle"])
def test_a_path_stays_within_the_largest_head(device_bundle, task):
    bundle = device_bundle.select(task)
    store = ConstantStore()
    nodes = {n: lower_node(n, one.data, store, "portable") for n, one in bundle.nodes.items()}
    heads = [node_arena(n.data, "cortex-m4", "reference").head_bytes for n in bundle.nodes.values()]
    paths = {task: bundle.tasks[task].path}
    assert make_plan(nodes, paths, False).buffer_bytes <= max(heads)


def test_kept_seams_stay_within_head_and_copy(device_bundle):
    store = ConstantStore()
    nodes = {
        n: lower_node(n, one.data, store, "portable") for n, one in device_bundle.nodes.items()
    }
    heads = [
        node_arena(n.data, "cortex-m4", "reference").head_bytes
        for n in device_bundle.nodes.values()
    ]
    paths = {name: task.path for name, task in device_bundle.tasks.items()}
    copy = device_bundle.nodes["trunk"].output.element_count
    assert make_plan(nodes, paths, True).buffer_bytes <= max(heads) + copy


def blocks_of(lives) -> list[Block]:
    """Blocks of (bytes, first, last)."""
    return [
        Block(
            size,
            first,
            last,
            frozenset(
                other
                for other, (_, begin, end) in enumerate(lives)
                if other != number and begin <= last and first <= end
            ),
        )
        for number, (size, first, last) in enumerate(lives)
    ]


def assert_apart(blocks, offsets) -> None:
    for number, block in enumerate(blocks):
        for other in block.beside:
            below, above = sorted((number, other), key=lambda i: offsets[i])
            assert offsets[below] + blocks[below].size_bytes <= offsets[above]


def test_placing_meets_the_bound_where_the_largest_first_does_not():
    blocks = blocks_of([(76, 4, 7), (104, 2, 5), (104, 0, 2), (96, 4, 6)])
    planned = [PlannedBuffer(one.size_bytes, one.first, one.last) for one in blocks]
    assert plan_bytes(planned) == 284
    offsets, end = place(blocks, 276)
    assert end == 276
    assert_apart(blocks, offsets)


def test_placing_meets_the_bound_of_random_lives():
    random = np.random.default_rng(0)
    for _ in range(100):
        starts = random.integers(0, 8, random.integers(4, 14))
        lives = [
            (4 * int(random.integers(1, 30)), int(one), int(one + random.integers(0, 4)))
            for one in starts
        ]
        blocks = blocks_of(lives)
        least = max(sum(z for z, a, b in lives if a <= now <= b) for now in range(12))
        offsets, end = place(blocks, least)
        assert end == least
        assert_apart(blocks, offsets)
