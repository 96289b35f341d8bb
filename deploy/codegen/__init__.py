"""A bundle compiled ahead of time to plain C99, bit for bit what TensorFlow Lite Micro computes.

Example:
    >>> from deploy.codegen import compile_bundle
    >>> from quantize.bundle import Bundle
    >>> program = compile_bundle(Bundle.load("bundle"), isa="dsp")
    >>> for name, text in program.files.items():
    ...     Path("firmware", name).write_text(text)
"""

from deploy.codegen.compile_bundle import compile_bundle
from deploy.codegen.compiled import CProgram, PlannedTensor, StoredConstant, TaskProgram
from deploy.codegen.program import CodegenError

__all__ = [
    "CProgram",
    "CodegenError",
    "PlannedTensor",
    "StoredConstant",
    "TaskProgram",
    "compile_bundle",
]
