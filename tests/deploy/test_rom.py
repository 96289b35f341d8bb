"""The runtime's code: the union model against images that were linked, its splits and refusals."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import deploy.footprint.rom as rom
from deploy.board import CORES
from deploy.footprint.cores import KERNEL_SETS, MEASURED_CORES, CoreError, default_kernels
from deploy.footprint.registrations import REGISTRATIONS
from deploy.footprint.rom import RomError, runtime_rom

TABLE = json.loads(Path(rom.__file__).with_name("rom_table.json").read_text())
MEASURED = sorted(name for name in TABLE["operators"] if not re.search(r"_INT(4|8|16)$", name))
FORMS = sorted(
    f"{name}:{form}"
    for name, forms in REGISTRATIONS.items()
    for form in (*forms, "ANY")
    if form != "INT8"
)
KWS = TABLE["sets"]["kws/vww"]
RESNET = TABLE["sets"]["resnet"]


def linked_images() -> list[tuple[str, str, str, int]]:
    """(core, kernels, set, bytes) of every image that was linked, at -Os."""
    images = []
    for key, build in TABLE["builds"].items():
        core, kernels = key.split("/")
        for name, size in build["linked"].items():
            images.append((core, kernels + "-int8" * name.endswith("_int8"), name, size))
    return images


def estimate(core: str, kernels: str, name: str) -> rom.RuntimeRom:
    return runtime_rom(map(operator_name, TABLE["sets"][name]), core, kernels)


def operator_name(row: str) -> str:
    """What `runtime_rom` calls a row of the table: "CONV_2D", "CONV_2D:INT4"."""
    operator, _, form = row.rpartition("_INT")
    return row if not operator else operator if form == "8" else f"{operator}:INT{form}"


@pytest.mark.parametrize("core", MEASURED_CORES)
def test_every_linked_image_is_within_one_percent(core: str) -> None:
    images = [image for image in linked_images() if image[0] == core]
    assert len(images) == 45
    for _, kernels, name, size in images:
        runtime = estimate(core, kernels, name)
        low, high = runtime.error_percent
        assert -1 <= low < high <= 1
        assert runtime.rom_bytes * (1 + low / 100) <= size <= runtime.rom_bytes * (1 + high / 100)


def test_known_figures() -> None:
    """Linked images that other figures of the project refer to."""
    assert abs(estimate("cortex-m4", "cmsis-nn", "kws/vww").rom_bytes - 74_440) < 100
    assert abs(estimate("cortex-m4", "cmsis-nn-int8", "kws_int8").rom_bytes - 46_824) < 100
    assert abs(estimate("cortex-m0plus", "reference", "kws/vww").rom_bytes - 46_144) < 100


def test_int8_only_registrations_save_much_on_cmsis_nn() -> None:
    for core in MEASURED_CORES:
        generic = runtime_rom(KWS, core, "cmsis-nn").rom_bytes
        assert runtime_rom(KWS, core, "cmsis-nn-int8").rom_bytes < 0.75 * generic


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@given(operators=st.sets(st.sampled_from(MEASURED + sorted(rom._STAND_INS))))
def test_the_split_by_operator_sums_to_the_whole(kernels: str, operators: set[str]) -> None:
    runtime = runtime_rom(operators, "cortex-m7", kernels)
    assert set(runtime.by_operator) == operators
    assert sum(runtime.by_operator.values()) == runtime.kernel_bytes
    assert all(size > 0 for size in runtime.by_operator.values())


@given(
    operators=st.sets(st.sampled_from(MEASURED + sorted(rom._STAND_INS)), min_size=1),
    more=st.sampled_from(MEASURED),
)
def test_an_operator_never_makes_the_runtime_smaller(operators: set[str], more: str) -> None:
    before = runtime_rom(operators, "cortex-m33", "cmsis-nn-int8")
    after = runtime_rom({*operators, more}, "cortex-m33", "cmsis-nn-int8")
    alone = runtime_rom([more], "cortex-m33", "cmsis-nn-int8")
    assert before.kernel_bytes <= after.kernel_bytes <= before.kernel_bytes + alone.kernel_bytes


@given(
    operators=st.sets(st.sampled_from(MEASURED + FORMS + sorted(rom._STAND_INS)), min_size=1),
    more=st.sampled_from(FORMS),
)
def test_a_form_never_makes_the_runtime_smaller(operators: set[str], more: str) -> None:
    before = runtime_rom(operators, "cortex-m4", "cmsis-nn-int8")
    after = runtime_rom({*operators, more}, "cortex-m4", "cmsis-nn-int8")
    alone = runtime_rom([more], "cortex-m4", "cmsis-nn-int8")
    assert before.kernel_bytes <= after.kernel_bytes <= before.kernel_bytes + alone.kernel_bytes
    assert set(after.by_operator) == operators | {more}
    assert sum(after.by_operator.values()) == after.kernel_bytes


@pytest.mark.parametrize("kernels", ["reference", "cmsis-nn"])
@pytest.mark.parametrize("name", FORMS)
def test_generic_registrations_link_every_form(name: str, kernels: str) -> None:
    operator = name.split(":")[0]
    plain = runtime_rom([operator, "ADD"], "cortex-m4", kernels)
    assert runtime_rom([operator, name, "ADD"], "cortex-m4", kernels) == plain
    assert runtime_rom([name, "ADD"], "cortex-m4", kernels) == plain


@pytest.mark.parametrize("core", MEASURED_CORES)
@pytest.mark.parametrize("form", ["INT4", "INT16"])
def test_forms_side_by_side_cost_less_than_the_generic_registration(core: str, form: str) -> None:
    own, generic = (
        runtime_rom([*KWS, f"CONV_2D:{one}"], core, "cmsis-nn-int8").rom_bytes
        for one in (form, "ANY")
    )
    without = runtime_rom(KWS, core, "cmsis-nn-int8").rom_bytes
    assert without + 2500 < own < generic - 2500
    alone = runtime_rom(["CONV_2D", f"CONV_2D:{form}"], core, "cmsis-nn-int8").rom_bytes
    assert runtime_rom([f"CONV_2D:{form}"], core, "cmsis-nn-int8").rom_bytes < alone


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("core", MEASURED_CORES)
def test_decoding_tables_takes_few_bytes(core: str, kernels: str) -> None:
    """The kernel is that of firmware_stubs/tflm, which decodes lookup tables alone."""
    before, after = (
        runtime_rom(names, core, kernels).kernel_bytes for names in (KWS, [*KWS, "TFLM_DECODE"])
    )
    assert 650 < after - before < 750


WIDE = [
    "AVERAGE_POOL_2D:INT16", "CONV_2D:INT16", "DEPTHWISE_CONV_2D:INT16", "FULLY_CONNECTED:INT16",
    "QUANTIZE", "SOFTMAX:INT16",
]  # fmt: skip
STATED = {
    "`TFLM_DECODE`": [*KWS, "TFLM_DECODE"],
    "`CONV_2D:INT4`": [*KWS, "CONV_2D:INT4"],
    "`DEPTHWISE_CONV_2D:INT4`": [*KWS, "DEPTHWISE_CONV_2D:INT4"],
    "every operator in int16, and `QUANTIZE`": [*KWS, *WIDE],
    "the generic registrations of all": [
        *KWS, *(f"{name}:ANY" for name in KWS if name in REGISTRATIONS),
    ],
    "both int4 forms in place of int8": [
        f"{name}:INT4" if "CONV" in name else name for name in KWS
    ],
    "int16 in place of int8": [*WIDE, "RESHAPE"],
}  # fmt: skip


@pytest.mark.parametrize("added", STATED)
def test_the_guide_states_what_forms_cost(added: str) -> None:
    guide = Path(__file__).parents[2] / "docs" / "footprint.md"
    row = next(
        line for line in guide.read_text("utf-8").splitlines() if line.startswith(f"| {added} |")
    )
    found = [
        runtime_rom(STATED[added], core, "cmsis-nn-int8").rom_bytes
        - runtime_rom(KWS, core, "cmsis-nn-int8").rom_bytes
        for core in MEASURED_CORES
    ]
    assert [cell.strip() for cell in row.split("|")[2:-1]] == [f"{size:,}" for size in found]


def test_no_operator_is_the_core_alone() -> None:
    runtime = runtime_rom([], "cortex-m4", "reference")
    assert (runtime.kernel_bytes, runtime.by_operator) == (0, {})
    assert runtime.rom_bytes == runtime.core_bytes == 11_584


def test_repetition_and_order_do_not_matter() -> None:
    assert runtime_rom(KWS, "cortex-m4", "reference") == runtime_rom(
        [*reversed(KWS), *KWS], "cortex-m4", "reference"
    )


@pytest.mark.parametrize("name", sorted(rom._STAND_INS))
def test_an_unmeasured_operator_is_named_and_widens_the_band(name: str) -> None:
    exact = runtime_rom(KWS, "cortex-m4", "cmsis-nn-int8")
    runtime = runtime_rom([*KWS, name], "cortex-m4", "cmsis-nn-int8")
    assert rom._STAND_INS[name] in TABLE["operators"]
    assert runtime.by_operator[name] > 0
    assert any(note.startswith(name) and rom._STAND_INS[name] in note for note in runtime.notes)
    assert runtime.error_percent[1] > exact.error_percent[1]
    assert runtime.error_percent[0] < exact.error_percent[0]


def test_an_operator_beside_its_stand_in_costs_code_of_its_own() -> None:
    alone = runtime_rom(["SUB"], "cortex-m4", "reference").kernel_bytes
    both = runtime_rom(["SUB", "DIV"], "cortex-m4", "reference")
    assert both.kernel_bytes == alone + 4650  # the code that only SUB links
    assert both.by_operator["DIV"] in (both.kernel_bytes // 2, both.kernel_bytes // 2 + 1)


def test_an_operator_is_either_measured_or_represented() -> None:
    assert not set(rom._STAND_INS) & set(MEASURED)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CONV_2DD", "Did you mean 'CONV_2D'?"),
        ("conv_2d", "Did you mean 'CONV_2D'?"),
        ("MyOperator", "reserve its bytes in the budget"),
        ("CONV_2D_INT8", "received 'CONV_2D_INT8'"),
        ("CONV_2D_INT4", "received 'CONV_2D_INT4'"),
        ("CONV_2D:INT2", "CONV_2D:INT8, CONV_2D:INT4, CONV_2D:INT16, CONV_2D:ANY; received"),
        ("RESHAPE:INT16", "a form that is measured, RESHAPE alone; received 'RESHAPE:INT16'"),
        ("WHILE", "received 'WHILE'"),
    ],
)
def test_an_unknown_operator_is_refused_and_never_free(name: str, expected: str) -> None:
    with pytest.raises(RomError, match=re.escape(expected)):
        runtime_rom(["CONV_2D", name], "cortex-m4", "reference")


@pytest.mark.parametrize("core", sorted(set(CORES) - set(MEASURED_CORES)))
def test_an_unmeasured_core_names_its_stand_in(core: str) -> None:
    runtime = runtime_rom(RESNET, core, default_kernels(core))
    assert f"stands for {core}" in runtime.basis
    low, high = runtime.error_percent
    assert high - low > 3
    if not core.startswith("cortex-m"):
        assert high >= 20


def test_a_cortex_m7_without_double_precision_links_soft_double() -> None:
    single = runtime_rom(KWS, "cortex-m7", "reference", fpu="single")
    double = runtime_rom(KWS, "cortex-m7", "reference")
    assert 2000 < single.rom_bytes - double.rom_bytes < 3500
    assert "stands for cortex-m7" in single.basis
    assert "stands for" not in double.basis


@pytest.mark.parametrize(
    ("core", "stand_in", "factor"),
    [
        ("rv32imc", "cortex-m3", 1.30),
        ("xtensa-lx7", "cortex-m4", 1.45),
        ("cortex-m85", "cortex-m55", 1),
    ],
)
def test_code_of_another_instruction_set_is_larger(core: str, stand_in: str, factor: float) -> None:
    measured = runtime_rom(KWS, stand_in, "reference")
    runtime = runtime_rom(KWS, core, "reference")
    assert abs(runtime.rom_bytes - factor * measured.rom_bytes) <= len(KWS) + 1
    assert sum(runtime.by_operator.values()) == runtime.kernel_bytes
    assert runtime.core_bytes == round(factor * measured.core_bytes)


def test_every_core_and_unit_has_a_table() -> None:
    for core in CORES:
        for fpu in ("none", "single", "double"):
            assert runtime_rom(["CONV_2D"], core, "reference", fpu).rom_bytes > 15_000


@pytest.mark.parametrize(
    ("core", "kernels", "expected"),
    [
        ("cortex-m5", "reference", "`core` must be one of"),
        ("cortex-m4", "cmsis", "`kernels` must be one of reference, cmsis-nn, cmsis-nn-int8"),
        ("rv32imc", "cmsis-nn", "`kernels` must be 'reference' for the core 'rv32imc'"),
    ],
)
def test_an_unknown_core_or_kernel_set_is_refused(core: str, kernels: str, expected: str) -> None:
    with pytest.raises(CoreError, match=re.escape(expected)):
        runtime_rom(["CONV_2D"], core, kernels)


def test_the_table_is_the_measured_one(shared: Path) -> None:
    """The project's compact table says of every linked set what the measurement said."""
    raw = json.loads((shared / "reference" / "tflm_code_size.json").read_text())
    names = {"ref": "reference", "cmsis": "cmsis-nn"}
    for key, build in raw["builds"].items():
        core, kernels, variant = key.split("/")
        if variant != "rel":
            continue
        for entry in build["additivity"]:
            kernel_set = names[kernels] + "-int8" * entry["set"].endswith("_int8")
            if kernels == "ref" and entry["set"].endswith("_int8"):
                continue
            assert estimate(core, kernel_set, entry["set"]).rom_bytes == entry["union_pred"]
