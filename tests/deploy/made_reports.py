"""Reports of the hand-made bundle, one per case that a rendering must tell."""

from collections.abc import Mapping
from dataclasses import replace

from made_bundle import small_bundle, verdict

from deploy.comparison.baseline import BaselineCheck
from deploy.lint import Finding
from deploy.verdict import BudgetReport, Verdict


def report(
    *verdicts: Verdict, findings: Mapping[str, tuple[Finding, ...]] | None = None
) -> BudgetReport:
    """A report of verdicts, the worst first."""
    ordered = sorted(verdicts, key=lambda one: (one.fits, -one.percent))
    return BudgetReport(tuple(ordered), findings or {})


def before(one: Verdict, rom: int = 0, ram: int = 0, us: float | None = None) -> BaselineCheck:
    """What a check found earlier, when it took `rom` and `ram` bytes and `us` less than today."""
    nodes = {name: node.rom_bytes for name, node in one.footprint.nodes.items()}
    nodes["digit"] -= min(rom, 1_200) if rom > 0 else 0
    return BaselineCheck(
        one.check.name,
        one.rom.used_bytes - rom,
        one.ram.used_bytes - ram,
        None if us is None or one.time is None else one.time.used_us - us,
        nodes,
        dict(one.footprint.runtime.by_operator),
    )


def grown_report() -> BudgetReport:
    """One check grew by more than is allowed, one shrank, one is as before, one is new."""

    def remade(
        name: str, grew_rom: int, grew_ram: int, grew_us: float | None = None, **settings
    ) -> Verdict:
        earlier = before(verdict(name, **settings), grew_rom, grew_ram, grew_us)
        return verdict(name, before=earlier, **settings)

    return report(
        remade(
            "nano33ble", 3_200, 1_100, 950.0, rom=400 * 1024, ram=96 * 1024, is_timed=True,
            growth={"rom": "2 KiB", "ram": "10 KiB", "latency": "5 %"},
        ),
        remade("bluepill", -1_234, -16, growth={"rom": "2 KiB", "ram": "1 %"}),
        remade("nucleo-f411re", 0, 0, 0.0, is_timed=True),
        verdict("pico", growth={"rom": "2 KiB"}),
    )  # fmt: skip


def timed_report() -> BudgetReport:
    """Over its limit, close to it, without a limit, and without evidence."""
    return report(
        verdict("nano33ble", is_timed=True, limit_us=10_000.0),
        verdict("nucleo-f411re", is_timed=True, limit_us=8_500.0),
        verdict("nucleo-f746zg", is_timed=True),
        verdict("esp32-c3"),
    )


def margin_report() -> BudgetReport:
    """The first is below its limit, but not below the limit less the margin."""
    return report(
        verdict("nano33ble", 68_000, 64 * 1024, margin="5 %"),
        verdict("nucleo-f411re", 400 * 1024, margin="8 KiB"),
    )


FINDINGS = (
    Finding(
        "single-user-operator", ("texture",),
        "only texture needs LOGISTIC and DEPTHWISE_CONV_2D",
        "use operators that the other branches have", "ROM", 11_264, "nano33ble",
    ),
    Finding(
        "replaceable-softmax", ("digit", "orientation"),
        "SOFTMAX ends digit and orientation, and the largest logit names the same class",
        "end the branches at their logits", "ROM", 9_700, "nano33ble",
    ),
    Finding(
        "dead-channels", ("trunk",), "6 of 32 channels of trunk are all zero and hold 1,728 bytes",
        "train with fewer channels there", "ROM", 1_728,
    ),
    Finding(
        "duplicate-buffers", ("digit", "orientation"),
        "digit and orientation hold the same 512 bytes of weights",
        "move the layer into the trunk", "ROM", 512,
    ),
    Finding(
        "wide-seam", ("trunk",), "the seam behind trunk takes 4,096 bytes, the input 256",
        "cut the tree further down", "RAM", 3_840,
    ),
    Finding(
        "light-trunk", ("trunk",), "the trunk holds 41.6 % of the bytes, its branches more",
        "share more layers",
    ),
    Finding(
        "stripped", ("trunk", "digit"), "the strip took 7,597 bytes off the nodes",
        "nothing is left to do",
    ),
)  # fmt: skip


def linted_report() -> BudgetReport:
    """Seven findings, more than the screen shows unasked."""
    return report(verdict("nano33ble"), findings={"demo": FINDINGS})


def two_bundles_report() -> BudgetReport:
    """ "kws" and "vision" on two boards each."""
    kws, vision = small_bundle("kws"), small_bundle("vision")
    return report(
        verdict("nano33ble", 60 * 1024, called="kws on nano33ble", bundle=kws),
        verdict("bluepill", called="kws on bluepill", bundle=kws),
        verdict("nano33ble", tasks=("digit",), called="vision on nano33ble", bundle=vision),
        verdict("bluepill", tasks=("digit",), called="vision on bluepill", bundle=vision),
        findings={"kws": FINDINGS[:2], "vision": FINDINGS[2:3]},
    )


def mixed_report() -> BudgetReport:
    """Nodes stored in several precisions, on two boards."""
    bundle = small_bundle()
    stored = {"digit": "lut4", "orientation": "int4", "texture": "16x8"}
    nodes = {
        name: replace(node, precision=stored.get(name, "int8"))
        for name, node in bundle.nodes.items()
    }
    mixed = replace(bundle, nodes=nodes)
    return report(verdict("nano33ble", bundle=mixed), verdict("bluepill", bundle=mixed))


SECTIONS = {".text": 71_320, ".rodata": 24_116, ".data": 312}


def image_report() -> BudgetReport:
    """ROM from a linked image."""
    settings = {"is_timed": True, "image": SECTIONS, "margin": "5 %"}
    earlier = before(verdict("nano33ble", **settings), 512, 0, 0.0)
    return report(verdict("nano33ble", before=earlier, **settings))


def full_report() -> BudgetReport:
    """Everything that a report can hold."""
    kws, vision = small_bundle("kws"), small_bundle("vision")
    settings = {
        "bundle": kws, "is_timed": True, "rom": 100_000, "limit_us": 15_000.0, "margin": "2 %",
        "called": "kws on nano33ble", "growth": {"rom": "1 KiB", "ram": "1 %", "latency": "5 %"},
    }  # fmt: skip
    earlier = before(verdict("nano33ble", **settings), 2_000, 0, 700.0)
    return report(
        verdict("nano33ble", before=earlier, **settings),
        verdict("bluepill", 60_000, called="kws on bluepill", bundle=kws),
        verdict("pico", called="vision on pico", bundle=vision, tasks=("digit",), image=SECTIONS),
        verdict("esp32-c3", called="vision on esp32-c3", bundle=vision),
        findings={"kws": FINDINGS, "vision": FINDINGS[2:3]},
    )
