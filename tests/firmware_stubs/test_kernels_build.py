"""The kernels compile without a warning as C99 and as C++; their arithmetic is the one stated."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

from deploy.codegen.fixed_point import (
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion"]
COMPILERS = [[name, "-std=c99"] for name in ("gcc", "clang", "clang-14", "arm-none-eabi-gcc")]
COMPILERS.append(["g++", "-x", "c++"])
WRAPPER = """
#include "kt_requantize.h"
void requantize(int n, const int32_t *x, int32_t multiplier, int shift, int32_t *y);
void requantize(int n, const int32_t *x, int32_t multiplier, int shift, int32_t *y) {
    for (int i = 0; i < n; i++) {
        y[i] = kt_requantize((uint32_t)x[i], multiplier, shift);
    }
}
"""


@pytest.fixture(scope="session")
def stubs(request):
    return request.config.rootpath / "firmware_stubs"


@pytest.mark.parametrize("compiler", [c for c in COMPILERS if shutil.which(c[0])], ids=" ".join)
@pytest.mark.parametrize("small", [[], ["-DKT_SMALL_CORE"]], ids=["long multiply", "small core"])
def test_no_warning(stubs, compiler, small):
    sources = sorted((stubs / "src").glob("kt_*.c"))
    portable = [path for path in sources if not path.stem.endswith(("_dsp", "_mve"))]
    own = [str(path) for path in portable if '"kt_kernels.h"' in path.read_text()]
    assert len(own) >= 12
    flags = [*WARNINGS, *small, "-DKT_FORCE_PORTABLE", f"-I{stubs / 'include'}", "-fsyntax-only"]
    subprocess.run([*compiler, *flags, *own], check=True)


@pytest.fixture(scope="session", params=["-DLONG_MULTIPLY", "-DKT_SMALL_CORE"])
def requantize(request, stubs, tmp_path_factory):
    """The C function over an array."""
    folder = tmp_path_factory.mktemp("requantize")
    (folder / "wrapper.c").write_text(WRAPPER)
    flags = ["-O1", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error", request.param]
    command = ["gcc", *flags, f"-I{stubs / 'src'}", "-shared", "-fPIC", str(folder / "wrapper.c")]
    subprocess.run([*command, "-o", str(folder / "wrapper.so")], check=True)
    function = ctypes.CDLL(str(folder / "wrapper.so")).requantize

    def run(values, multiplier, shift) -> np.ndarray:
        values = np.ascontiguousarray(values, np.int32)
        outputs = np.empty_like(values)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (values, outputs)]
        function(values.size, pointers[0], ctypes.c_int32(multiplier), shift, pointers[1])
        return outputs

    return run


# (accumulator, multiplier, shift, result): first rounding up at ties, second away from zero.
KNOWN = [
    (3, 2**30, 0, 2),  # 1.5 -> 2
    (-3, 2**30, 0, -1),  # -1.5 -> -1: the high multiply's ties go up
    (5, 2**30, 1, 5),  # exact: one left, half
    (6, 2**30, -1, 2),  # 3 -> 1.5 -> 2
    (-6, 2**30, -1, -2),  # -3 -> -1.5 -> -2: the shift's ties go away from zero
    (-5, 2**30, -1, -1),  # -2.5 -> -2, then -1: twice rounded, not once to -1.25
    (5, 2**30, -1, 2),  # 2.5 -> 3 -> 1.5 -> 2, where one rounding gives 1
    (2**31 - 1, 2**31 - 1, 0, 2**31 - 2),
    (-(2**31), 2**31 - 1, 0, -(2**31) + 1),
    (-(2**31), 2**31 - 1, -31, -1),
    (2**31 - 1, 2**31 - 1, -31, 1),
    (1, 2**30, 31, -(2**30)),  # the left shift wraps: 1 becomes -2^31
    (123456, 0, 0, 0),
]


@pytest.mark.parametrize(("value", "multiplier", "shift", "result"), KNOWN)
def test_known_answers(requantize, value, multiplier, shift, result):
    assert multiply_by_quantized_multiplier(value, multiplier, shift) == result
    assert requantize([value], multiplier, shift) == result


def test_requantize_is_the_same_in_c_and_python(requantize):
    random = np.random.default_rng(7)
    edges = np.array([0, 1, -1, 2**31 - 1, -(2**31), 2**30, -(2**30), 65535, -65536, 65536])
    for shift in range(-31, 32):
        spread = random.integers(-(2**31), 2**31, 300) >> random.integers(0, 31, 300)
        values = np.concatenate([edges, spread])
        for multiplier in (2**30, 2**31 - 1, int(random.integers(2**30, 2**31)), 2**30 + 65535, 0):
            expected = multiply_by_quantized_multiplier(values, multiplier, shift)
            np.testing.assert_array_equal(requantize(values, multiplier, shift), expected)


def test_the_one_overflow_saturates():
    assert saturating_rounding_doubling_high_mul(-(2**31), -(2**31)) == 2**31 - 1


@pytest.mark.parametrize(
    ("value", "exponent", "result"),
    [(5, 1, 3), (-5, 1, -3), (6, 2, 2), (-6, 2, -2), (-7, 2, -2), (7, 0, 7), (2**31 - 1, 31, 1)],
)
def test_ties_of_a_shift_go_away_from_zero(value, exponent, result):
    assert rounding_divide_by_pot(value, exponent) == result


@pytest.mark.parametrize(
    ("real", "multiplier", "shift"),
    [
        (0.0, 0, 0),
        (1.0, 2**30, 1),
        (0.5, 2**30, 0),
        (1 - 2.0**-40, 2**30, 1),  # rounds up to 2^31, which is halved
        (2.0**-31, 2**30, -30),
        (2.0**-33, 0, 0),
        (-0.75, -1610612736, 0),
        (0.0078125 * 1.3, 1395864371, -6),
    ],
)
def test_known_factors(real, multiplier, shift):
    assert quantize_multiplier(real) == (multiplier, shift)


@pytest.mark.parametrize("real", [float("nan"), float("inf"), 2.0**31])
def test_absurd_factors_are_refused(real):
    with pytest.raises(ValueError, match="Check the scales"):
        quantize_multiplier(real)
