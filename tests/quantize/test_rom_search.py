"""The search for precisions under a ROM budget: against all combinations, on made-up trees.

`Toy` is a workshop whose bytes and losses are tables; what a real tree adds to it is tested in
`rom/test_meeting.py`.
"""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from quantize.bundle import Bundle, InputNormalization, Node
from quantize.convert import ConversionError
from quantize.precision.choice import PrecisionError
from quantize.rom import search as rom_search
from quantize.rom.budget import RomBudget, RomBudgetError, RomModelError, rom_budget, stored_bytes
from quantize.rom.losses import Loss
from quantize.rom.search import (
    MOST_MEASURED,
    MOST_NEIGHBOURS,
    SAVING_PRECISIONS,
    search,
)
from quantize.tensor_spec import TensorSpec

PRECISIONS = ("int8", *SAVING_PRECISIONS)
SPEC = TensorSpec((1, 4), "int8", 0.5, 0)
DECODE_BYTES, INT4_BYTES = 700, 300


def node(name, precision, rom_bytes):
    filling = f"{name} {precision}".encode()
    return Node(name, filling.ljust(rom_bytes, b"."), rom_bytes, 1, 1, SPEC, SPEC, ("CONV_2D",),
                precision=precision)  # fmt: skip


class Toy:
    """A tree of tables: bytes and losses add up, but for what a test adds to them."""

    def __init__(self, seed=0, count=4):
        random = np.random.default_rng(seed)
        self.bytes, self.losses = {}, {}
        for index in range(count):
            name = f"n{index}"
            full = int(random.integers(2000, 9000))
            shares = {"int8": 1.0, "int4": 0.6, "lut4": 0.65, "lut3": 0.5, "lut2": 0.4}
            self.bytes[name] = {p: int(full * share) for p, share in shares.items()}
            scale = float(random.exponential()) / 100
            worse = {"int8": 0.0, "int4": 2.0, "lut4": 1.0, "lut3": 4.0, "lut2": 16.0}
            self.losses[name] = {
                p: scale * factor * random.uniform(0.5, 1.5) for p, factor in worse.items()
            }
        self.lines = []
        self.made = []

    def report(self, line):
        self.lines.append(line)

    def form(self, name, precision):
        return node(name, precision, self.bytes[name][precision])

    def bundle(self, precisions):
        self.made.append(tuple(precisions.values()))
        nodes = {name: self.form(name, precision) for name, precision in precisions.items()}
        return Bundle("toy", nodes, (), {}, InputNormalization(), {})

    def loss(self, bundle):
        return Loss(sum(self.losses[n.name][n.precision] for n in bundle.nodes.values()), 0.0)

    def start(self):
        return self.bundle(dict.fromkeys(self.bytes, "int8"))

    def search(self, limit_bytes, rom_model=stored_bytes, free=None, start=None):
        start = start or self.start()
        self.made.clear()
        free = self.bytes if free is None else free
        return search(start, free, RomBudget(limit_bytes, rom_model), self)

    def best(self, limit_bytes, rom_model=stored_bytes):
        """The least loss of all combinations that fit."""
        found = [
            (self.loss(bundle).value, precisions)
            for precisions in itertools.product(PRECISIONS, repeat=len(self.bytes))
            for bundle in [self.bundle(dict(zip(self.bytes, precisions, strict=True)))]
            if rom_model(bundle) <= limit_bytes
        ]
        return min(found, default=None)


def with_runtime(bundle):
    """Bytes with the code that lookup tables and int4 weights need once."""
    used = {n.precision for n in bundle.nodes.values()}
    code = DECODE_BYTES * bool(used & {"lut4", "lut3", "lut2"}) + INT4_BYTES * ("int4" in used)
    return stored_bytes(bundle) + 5000 + code


@pytest.mark.parametrize("rom_model", [stored_bytes, with_runtime])
@pytest.mark.parametrize("seed", range(12))
def test_the_least_loss_of_all_combinations_is_found(seed, rom_model):
    toy = Toy(seed)
    full, least = (rom_model(toy.bundle(dict.fromkeys(toy.bytes, p))) for p in ("int8", "lut2"))
    for share in (0.02, 0.3, 0.6, 0.97):
        limit_bytes = int(least + share * (full - least))
        found = toy.search(limit_bytes, rom_model)
        loss, precisions = toy.best(limit_bytes, rom_model)
        assert found.best.loss.value == pytest.approx(loss), (share, precisions)
        assert found.best.rom_bytes == rom_model(found.best.bundle) <= limit_bytes
        assert found.start_bytes == full
        assert found.measured_count <= MOST_MEASURED + MOST_NEIGHBOURS


def test_a_budget_that_int8_meets_changes_nothing_and_measures_nothing():
    toy = Toy()
    start = toy.start()
    found = toy.search(stored_bytes(start), start=start)
    assert found.best.bundle is start
    assert toy.made == []
    assert found.measured_count == 0
    assert "are within" in toy.lines[-1]


def test_a_budget_that_nothing_meets_says_what_is_reachable():
    toy = Toy()
    smallest = sum(forms["lut2"] for forms in toy.bytes.values())
    assert toy.search(smallest).precisions == dict.fromkeys(toy.bytes, "lut2")
    with pytest.raises(RomBudgetError) as caught:
        toy.search(smallest - 17)
    told = str(caught.value)
    assert caught.value.smallest_bytes == smallest
    assert f"must be at least {smallest:,} bytes" in told
    assert "17 too few" in told
    assert f'Raise it to "{smallest} B"' in told
    largest = max(toy.bytes, key=lambda name: toy.bytes[name]["lut2"])
    assert f"'{largest}' first: it takes {toy.bytes[largest]['lut2']:,} bytes as lut2" in told


def test_fixed_nodes_stay_and_are_named_where_they_stand_in_the_way():
    toy = Toy()
    start = toy.bundle({"n0": "int8", "n1": "int4", "n2": "int8", "n3": "int8"})
    free = ["n2", "n3"]
    found = toy.search(stored_bytes(start) - 100, free=free, start=start)
    assert (found.precisions["n0"], found.precisions["n1"]) == ("int8", "int4")
    assert set(found.forms) == {"n2", "n3"}
    with pytest.raises(RomBudgetError, match="free 'n0', 'n1', whose precision"):
        toy.search(1000, free=free, start=start)


def test_the_code_of_the_runtime_is_named_apart_where_it_counts():
    toy = Toy()
    with pytest.raises(RomBudgetError, match=r"5,\d00 of them beside the nodes' files"):
        toy.search(6000, with_runtime)


def test_code_that_a_precision_needs_once_can_make_it_not_worth_while():
    """One node alone saves less by lookup tables than DECODE takes, two save more."""
    toy = Toy(count=2)
    for name in toy.bytes:
        toy.bytes[name] = {"int8": 2000, "int4": 1990, "lut4": 1500, "lut3": 1500, "lut2": 1500}
        toy.losses[name] = {"int8": 0, "int4": 0.001, "lut4": 0.01, "lut3": 0.02, "lut2": 0.03}
    full = with_runtime(toy.start())
    with pytest.raises(RomBudgetError) as caught:
        toy.search(full - 400, with_runtime)
    assert caught.value.smallest_bytes == full - 1000 + DECODE_BYTES
    found = toy.search(full - 300, with_runtime)
    assert found.precisions == {"n0": "lut4", "n1": "lut4"}


@pytest.mark.parametrize("seed", range(6))
def test_a_model_that_does_not_add_up_is_asked_before_anything_is_made(seed):
    """Flash that is counted in pages: no combination is made whose pages are too many."""

    def pages(bundle):
        return -(-stored_bytes(bundle) // 2048) * 2048

    toy = Toy(seed)
    full = pages(toy.start())
    for limit_bytes in (full - 1, full - 4096, full - 8192):
        found = toy.search(limit_bytes, pages)
        made = [toy.bundle(dict(zip(toy.bytes, one, strict=True))) for one in toy.made[:]]
        assert found.best.rom_bytes == pages(found.best.bundle) <= limit_bytes
        assert max(map(pages, made)) <= limit_bytes


def test_what_is_measured_counts_not_what_adds_up(monkeypatch):
    """Two nodes that each lose nothing as lut4 lose all of it together."""
    monkeypatch.setattr(rom_search, "MOST_NEIGHBOURS", 0)
    toy = Toy(count=3)
    for name in toy.bytes:
        toy.bytes[name] = {"int8": 1000, "int4": 900, "lut4": 500, "lut3": 450, "lut2": 400}
        toy.losses[name] = {"int8": 0, "int4": 0.5, "lut4": 0.001, "lut3": 0.02, "lut2": 0.04}
    together = toy.loss

    def loss(bundle):
        lut4 = [n.precision for n in bundle.nodes.values()].count("lut4")
        return Loss(together(bundle).drop + 0.3 * (lut4 > 1), 0.0)

    toy.loss = loss
    found = toy.search(2000)
    assert sorted(found.precisions.values()) == ["int8", "lut3", "lut4"]
    assert found.best.loss.value == pytest.approx(0.021)


def test_a_real_bundle_above_the_budget_is_passed_over():
    """A form that takes more once its neighbours are adapted: the next combination is taken."""
    toy = Toy(count=2)
    for name in toy.bytes:
        toy.bytes[name] = {"int8": 1000, "int4": 900, "lut4": 700, "lut3": 690, "lut2": 600}
        toy.losses[name] = {"int8": 0, "int4": 0.5, "lut4": 0.001, "lut3": 0.02, "lut2": 0.04}
    plain = toy.bundle

    def bundle(precisions):
        made = plain(precisions)
        if list(precisions.values()).count("lut4") == 1:
            made.nodes["n1"] = node("n1", precisions["n1"], made.nodes["n1"].rom_bytes + 11)
        return made

    toy.bundle = bundle
    found = toy.search(1700)
    assert found.best.rom_bytes <= 1700
    assert "above the budget" in " ".join(toy.lines)
    assert found.precisions == {"n0": "lut4", "n1": "lut4"}
    assert toy.made[0].count("lut4") == 1  # was predicted to be the best


def test_the_smallest_is_the_last_resort():
    """None of the combinations that are tried first fits in reality."""
    toy = Toy(count=3)
    plain = toy.bundle

    def bundle(precisions):
        made = plain(precisions)
        if set(precisions.values()) not in ({"lut2"}, {"int8"}):
            made.nodes["n0"] = node("n0", precisions["n0"], 20_000)
        return made

    toy.bundle = bundle
    limit_bytes = sum(forms["lut2"] for forms in toy.bytes.values()) + 4000
    assert limit_bytes < sum(forms["int8"] for forms in toy.bytes.values())
    found = toy.search(limit_bytes)
    assert set(found.precisions.values()) == {"lut2"}
    assert found.measured_count <= MOST_MEASURED + 1 + MOST_NEIGHBOURS


def test_a_neighbour_that_measures_better_is_taken():
    """Two errors that cancel each other: no prediction says so, one step from the best shows it."""
    toy = Toy(count=2)
    for name, factor in (("n0", 1.0), ("n1", 1.1)):
        toy.bytes[name] = {"int8": 1000, "int4": 900, "lut4": 700, "lut3": 600, "lut2": 500}
        worse = {"int8": 0, "int4": 0.01, "lut4": 0.02, "lut3": 0.03, "lut2": 0.09}
        toy.losses[name] = {precision: factor * loss for precision, loss in worse.items()}
    together = toy.loss

    def loss(bundle):
        precisions = tuple(n.precision for n in bundle.nodes.values())
        return Loss(0.0 if precisions == ("lut4", "int4") else together(bundle).drop, 0.0)

    toy.loss = loss
    found = toy.search(1750)
    assert toy.made[0] == ("lut4", "int8")  # predicted best, and as good as predicted
    assert found.precisions == {"n0": "lut4", "n1": "int4"}
    assert found.best.loss.value == 0


def test_a_form_that_does_not_run_where_bytes_are_counted_is_left_out():
    toy = Toy()

    def model(bundle):
        if bundle.nodes["n1"].precision == "int4":
            raise RomModelError("no kernel runs it")
        return stored_bytes(bundle)

    start = toy.start()
    found = toy.search(stored_bytes(start) - 500, model, start=start)
    assert "'n1' cannot be int4: no kernel runs it" in toy.lines
    assert "int4" not in found.forms["n1"]


@pytest.mark.parametrize("error", [ConversionError("refused"), PrecisionError("refused")])
def test_a_form_that_a_node_cannot_have_is_told_and_left_out(error):
    toy = Toy()
    plain = toy.form

    def form(name, precision):
        if (name, precision) == ("n0", "int4"):
            raise error
        return plain(name, precision)

    start = toy.start()
    toy.form = form
    found = toy.search(stored_bytes(start) - 500, start=start)
    assert "'n0' cannot be int4: refused" in toy.lines
    assert "int4" not in found.forms["n0"]
    assert "int4" in found.forms["n1"]


def test_forms_that_are_no_smaller_are_no_candidates():
    toy = Toy(count=2)
    toy.bytes["n0"] = dict.fromkeys(PRECISIONS, 1000)
    found = toy.search(stored_bytes(toy.start()) - 100)
    assert found.forms["n0"] == {}
    assert "'n0' as lut2: no smaller" in toy.lines


@pytest.mark.parametrize(
    ("rom", "model", "said"),
    [
        ("120 KB", None, "a unit with one meaning"),
        (0, None, "must be above 0"),
        (-5, None, "at least 0"),
        (1.5, None, "must be a size"),
        (None, stored_bytes, "`rom_model` must go with `rom`"),
    ],
)
def test_a_budget_that_cannot_be_read_says_why(rom, model, said):
    with pytest.raises(ValueError, match=said):
        rom_budget(rom, model)


def test_a_budget_counts_the_files_unless_told_otherwise():
    assert rom_budget(None, None) is None
    assert rom_budget("1 KiB", None) == RomBudget(1024, stored_bytes)
    toy = Toy(count=2)
    assert stored_bytes(toy.start()) == sum(forms["int8"] for forms in toy.bytes.values())
    model = SimpleNamespace()
    assert rom_budget(77, model).rom_model is model
