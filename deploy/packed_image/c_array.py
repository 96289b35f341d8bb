"""A packed image as a C source file, for projects that link it in.

A compiled array takes exactly the image's bytes in flash; the source is about five times as long.
`.incbin` does the same without it: see docs/image.md.
"""

from __future__ import annotations

import re
from pathlib import PurePath

_PER_LINE = 20
_KEYWORDS = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept
    const consteval constexpr constinit continue co_await co_return co_yield decltype default delete
    do double dynamic_cast else enum explicit export extern false float for friend goto if inline
    int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected
    public register reinterpret_cast requires restrict return short signed sizeof static
    static_assert static_cast struct switch template this thread_local throw true try typedef typeid
    typename typeof union unsigned using virtual void volatile wchar_t while xor xor_eq
"""
"""Of C and C++, C23 and C++20."""

_TEXT = """\
/* A packed image of {bytes:,} bytes, version {version}. Made by `keras-tree pack`: do not edit. */
#include <stdint.h>

#if defined(__cplusplus) && __cplusplus >= 201103L
#define KT_ALIGNED alignas(16)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define KT_ALIGNED _Alignas(16)
#else
#define KT_ALIGNED __attribute__((aligned(16)))
#endif

#ifdef __cplusplus
extern "C" {{ /* a const object of C++ is not seen by other files otherwise */
#endif
extern const uint8_t {name}[{bytes}];
extern const uint32_t {name}_bytes;
#ifdef __cplusplus
}}
#endif

KT_ALIGNED const uint8_t {name}[{bytes}] = {{
{rows}
}};
const uint32_t {name}_bytes = {bytes}u;
"""


def c_array(data: bytes, name: str, version: int) -> str:
    """The source of an array of 16-byte alignment, and of its length.

    Args:
        data: The image.
        name: The array's name; its length is `<name>_bytes`.
        version: The image's version, for the comment.
    """
    rows = [
        "    " + ", ".join(f"{byte}" for byte in data[at : at + _PER_LINE]) + ","
        for at in range(0, len(data), _PER_LINE)
    ]
    return _TEXT.format(bytes=len(data), version=version, name=name, rows="\n".join(rows))


def array_name(path: PurePath) -> str:
    """A name in C for the array in a file: its stem, what is no letter or digit as `_`."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", path.stem).strip("_")
    is_free = name[:1].isalpha() and name not in _KEYWORDS.split()
    return name if is_free else f"image_{name}".rstrip("_")
