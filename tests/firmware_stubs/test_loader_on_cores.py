"""The loader on emulated cores of 32 bits: the same verdicts as on the host, its stack and time."""

import importlib.util
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.packed_image import ImageError, check_base, read_image
from deploy.packed_image.error import STATUSES

HERE = Path(__file__).parent
CODE, IMAGE, BASE, RAM, STACK = 0x8000, 0x100000, 0x180000, 0x20000000, 0x20010000
BUNDLE, BASE_BUNDLE, OPTIONS = RAM, RAM + 128, RAM + 256


def loaded(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = loaded(HERE / "image_fixtures.py")


def linked(core: str, folder: Path) -> tuple[bytes, dict[str, int]]:
    """The loader at `CODE`, and where its functions are."""
    sources = [made.STUBS / "src" / f"{name}.c" for name in made.LOADER]
    program = folder / "loader.elf"
    flags = ["-std=c99", "-Os", "-mthumb", f"-mcpu={core}", f"-I{made.STUBS}/include"]
    flags += ["-nostartfiles", f"-Wl,-Ttext={CODE:#x},-ekt_bundle_open", "--specs=nano.specs"]
    subprocess.run(["arm-none-eabi-gcc", *flags, "-o", program, *sources], check=True, timeout=60)
    flat = folder / "loader.bin"
    command = ["arm-none-eabi-objcopy", "-O", "binary", "-j", ".text", "-j", ".rodata"]
    subprocess.run([*command, program, flat], check=True, timeout=60)
    names = subprocess.run(
        ["arm-none-eabi-nm", program], check=True, capture_output=True, text=True, timeout=60
    )
    rows = [line.split() for line in names.stdout.splitlines()]
    return flat.read_bytes(), {row[2]: int(row[0], 16) for row in rows if len(row) == 3}


class Core:
    """An emulated core with the loader, an image, and the full image for branches."""

    def __init__(self, name: str, folder: Path) -> None:
        unicorn = pytest.importorskip("unicorn")
        from unicorn import arm_const as arm

        code, self.functions = linked(name, folder)
        self.arm = arm
        self.machine = unicorn.Uc(
            unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS
        )
        kind = {"cortex-m0plus": arm.UC_CPU_ARM_CORTEX_M0, "cortex-m4": arm.UC_CPU_ARM_CORTEX_M4}
        self.machine.ctl_set_cpu_model(kind[name])
        for start in (CODE & ~0xFFF, IMAGE, BASE, RAM):
            self.machine.mem_map(start, 0x10000)
        self.machine.mem_write(CODE, code)

    def call(self, function: str, *arguments: int) -> int:
        """Call a function; its result as a signed number."""
        arm, machine = self.arm, self.machine
        registers = (arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1, arm.UC_ARM_REG_R2, arm.UC_ARM_REG_R3)
        for register, value in zip(registers, arguments, strict=False):
            machine.reg_write(register, value)
        machine.reg_write(arm.UC_ARM_REG_SP, STACK)
        machine.reg_write(arm.UC_ARM_REG_LR, (CODE - 0x100) | 1)
        machine.emu_start(self.functions[function] | 1, CODE - 0x100, timeout=20_000_000)
        return struct.unpack("<i", struct.pack("<I", machine.reg_read(registers[0])))[0]

    def open(self, image: bytes, base: bytes | None = None) -> str:
        """The status of opening an image."""
        options = bytes(28)
        if base is not None:
            self.machine.mem_write(BASE, base)
            assert self.call("kt_bundle_open", BASE_BUNDLE, BASE, len(base), 0) == 0
            options = struct.pack("<I", BASE_BUNDLE) + bytes(24)
        self.machine.mem_write(OPTIONS, options)
        self.machine.mem_write(IMAGE, image)
        return STATUSES[-self.call("kt_bundle_open", BUNDLE, IMAGE, len(image), OPTIONS)]


@pytest.fixture(scope="module", params=["cortex-m0plus", "cortex-m4"])
def core(request, tmp_path_factory) -> Core:
    return Core(request.param, tmp_path_factory.mktemp("core"))


def in_python(image: bytes) -> str:
    try:
        found = read_image(image)
        if found.is_branch:
            check_base(found, read_image(made.FULL))
    except ImageError as error:
        return error.status
    return "OK"


def test_images_open_on_the_core(core) -> None:
    assert core.open(made.FULL) == "OK"
    assert core.open(made.BRANCH, made.FULL) == "OK"
    assert core.open(made.BRANCH) == "BASE"
    assert core.open(made.FULL) == "OK"
    assert core.machine.mem_read(core.call("kt_bundle_name", BUNDLE), 6) == b"small\0"
    core.machine.mem_write(OPTIONS + 64, b"odd\0")
    assert core.call("kt_bundle_find_task", BUNDLE, OPTIONS + 64) == 2


def test_damage_is_told_as_python_tells_it(core) -> None:
    """Lengths and offsets of 2^31 and more do not wrap where an address has 32 bits."""
    edges = [0, 1, 16, 0xFFFF, 2**31 - 16, 2**31, 2**32 - 16, 2**32 - 1]
    choice = random.Random(5)
    told = set()
    for number in range(600):
        image = bytearray((made.FULL, made.BRANCH)[number % 2])
        for _ in range(choice.randint(1, 2)):
            place = choice.randrange(8, 400, 4)
            value = choice.choice(edges) if choice.random() < 0.7 else choice.getrandbits(32)
            struct.pack_into("<I", image, place, value)
        damaged = made.resealed(bytes(image))
        status = core.open(damaged, made.FULL)
        assert status == in_python(damaged), number
        told.add(status)
    assert {"OK", "LAYOUT", "TRUNCATED", "INDEX", "STRING"} <= told


def test_the_stack_is_what_the_guide_says(core) -> None:
    core.machine.mem_write(STACK - 1024, b"\xa5" * 1024)
    assert core.open(made.BRANCH, made.FULL) == "OK"
    untouched = bytes(core.machine.mem_read(STACK - 1024, 1024))
    used = len(untouched.lstrip(b"\xa5"))
    assert 150 < used <= 200


def test_time_grows_with_the_bytes(core) -> None:
    import unicorn

    counted = []
    for length in (1_000, 2_000):
        total = [0]
        hook = core.machine.hook_add(
            unicorn.UC_HOOK_CODE, lambda *_, total=total: total.__setitem__(0, total[0] + 1)
        )
        core.machine.ctl_flush_tb()  # what was translated before has no hook
        core.machine.mem_write(IMAGE, bytes(range(250)) * 8)
        core.call("kt_crc32", 0, IMAGE, length)
        core.machine.hook_del(hook)
        core.machine.ctl_flush_tb()
        counted.append(total[0])
    assert (counted[1] - counted[0]) / 1_000 in (11, 16)
