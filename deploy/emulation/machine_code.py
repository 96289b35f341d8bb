"""Which instructions may move the stack pointer, and how many stand in a block.

Watching the stack pointer behind the first, and nowhere else, gives the deepest stack to the byte
without following every instruction. Watching it in more places than need be does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deploy.emulation.elf_sections import CodeRange

__all__ = ["addresses_after_stack_moves", "instruction_count"]

_SP = 13


def addresses_after_stack_moves(code: Iterable[CodeRange], is_arm: bool) -> list[int]:
    """The addresses of the instructions that follow those which write the stack pointer."""
    lowers = _thumb_lowers if is_arm else _riscv_lowers
    return [after for _, after, first, second in _walk(code, is_arm) if lowers(first, second)]


def instruction_count(code: bytes, is_arm: bool) -> int:
    """How many instructions stand in `code`; those that a condition may skip count too."""
    return sum(1 for _ in _walk([CodeRange(0, code)], is_arm))


def _walk(code: Iterable[CodeRange], is_arm: bool) -> Iterator[tuple[int, int, int, int]]:
    """Every instruction: its address, the next one's, and its two halfwords."""
    size_of = _thumb_size if is_arm else _riscv_size
    for part in code:
        at = 0
        while at + 2 <= len(part.data):
            first = int.from_bytes(part.data[at : at + 2], "little")
            size = size_of(first)
            second = int.from_bytes(part.data[at + 2 : at + 4], "little") if size == 4 else 0
            yield part.start + at, part.start + at + size, first, second
            at += size


def _thumb_size(first: int) -> int:
    """Bytes of an instruction by its first halfword: Armv7-M manual, section A5.1."""
    return 4 if first >> 11 in (0b11101, 0b11110, 0b11111) else 2


def _thumb_lowers(first: int, second: int) -> bool:
    """Whether a Thumb instruction writes SP, pops and returns aside (Armv7-M, A7.7)."""
    return any(_thumb_cases(first, second))


def _thumb_cases(first: int, second: int) -> Iterator[bool]:
    yield first & 0xFE00 == 0xB400  # PUSH
    yield first & 0xFF80 == 0xB080  # SUB SP, #immediate
    yield first & 0xFF87 in (0x4485, 0x4685)  # ADD SP, register; MOV SP, register
    yield first == 0xE92D  # PUSH.W
    yield first & 0xFFBF == 0xED2D  # VPUSH
    yield first == 0xF84D and second & 0x0F00 == 0x0D00  # STR register, [SP, #-offset]!
    yield first & 0xFF7F == 0xE96D  # STRD registers, [SP, #-offset]!
    target = second >> 8 & 15
    yield first & 0xFBEF in (0xF1AD, 0xF2AD) and target == _SP  # SUB.W SP, SP, #immediate
    yield first & 0xFFEF == 0xEBAD and target == _SP  # SUB.W SP, SP, register


def _riscv_size(first: int) -> int:
    return 4 if first & 3 == 3 else 2


def _riscv_lowers(first: int, second: int) -> bool:
    """Whether a RISC-V instruction writes x2, loads aside."""
    word = first | second << 16
    if first & 3 == 3:
        return word >> 7 & 31 == 2 and word & 0x7F in (0x13, 0x33)  # ADDI and its like; ADD, SUB
    is_addi = first & 0xE003 == 0x0001 and first >> 7 & 31 == 2  # C.ADDI
    is_addi16sp = first & 0xEF83 == 0x6101  # C.ADDI16SP
    is_move = first & 0xE003 == 0x8002 and first >> 7 & 31 == 2 and first >> 2 & 31 != 0
    return is_addi or is_addi16sp or is_move
