"""Lines of keys in TOML: known places in nasty documents, and a property over made-up ones."""

import sys
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.budget_file.lines import Place, lines_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def leaves(value: object, place: Place = ()) -> Iterator[tuple[Place, object]]:
    """Every scalar of a parsed document with its place."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, (*place, key))
    else:
        yield place, value


def assert_every_number_states_its_line(text: str) -> None:
    """In these documents every integer is the line that it, and so its key, stands on."""
    lines = lines_of(text)
    numbers = [(place, value) for place, value in leaves(tomllib.loads(text)) if type(value) is int]
    assert numbers
    for place, value in numbers:
        assert lines.has(*place), place
        assert lines.of(*place) == value, place


NASTY = [
    "a = 1\nb = 2 # c = 9\n#d = 9\n\n  e =5",
    "\r\na = 2\r\n\r\n[b]\r\nc = 5\r\n",
    'a = "[[x]] # no comment"\nb = 2\nc = "quote \\" # [x]"\nd = 4\n',
    "a = '\\'\nb = 2\nc = 'a \" b'\nd = 4\n",
    'a = """\n[x]\nb = 9 \\"""\n# """\nc = 5\n',
    'a = """two quotes at the end"""""\nb = 2\nc = """"""\nd = 4\n',
    "a = '''\n[x]\n\"\"\"\nb = 9\n'''\nc = 6\nd = ''''in''''\ne = 8\n",
    'a = """\\\n   folded ] } , \\\\"""\nb = 3\n',
    "a = [\n  2, # ] no end\n  '3]', [3, 3\n], [\n 5]\n,]\nb = 7\n",
    "a = { b = 1, c.d = 1, 'e f' = [1,\n2] }\ng = 3\n",
    "check = [\n  { name = 'a', rom = 2 }, # }\n  { name = ']', rom = 3 },\n]\nz = 5\n",
    "[[check]]\nrom = 2\n[[check]]\nrom = 4\n[check.allow]\nrom = 6\n[[check.part]]\nx = 8\n"
    "[[check.part]]\nx = 10\n[[check]]\nrom = 12\n[[check.part]]\nx = 14\n",
    '[ "a b" . c ]\nd = 2\n[[ x . \'y.z\' ]]\nq = 4\n"\\u0041 = [" = 5\n',
    "a.b = 1\na.c = 2\n[d.e]\nf = 4\n[d]\ng = 6\n",
    "a = 1979-05-27 07:32:00Z # b = 9\nb = 2\nc = inf\nd = -1_0.5e3\ne = 5\n",
    "[tool.keras-tree]\n[tool.keras-tree.project]\nx = 3\n[[tool.keras-tree.check]]\nrom = 5\n",
    "1 = 1\n3.14 = 2\ntrue = 3\n",
    "a = [\n\n# only a comment\n]\nb = 5\n\t[c] # d\n\td\t=\t7",
]


@pytest.mark.parametrize("text", NASTY)
def test_known_places_in_nasty_documents(text: str) -> None:
    assert_every_number_states_its_line(text)


def test_headers_and_lists_have_lines_too() -> None:
    lines = lines_of("# x\n[[check]]\nrom = 3\n\n[[check]]\n[check.sub]\n[a.b]\n")
    assert lines.of("check") == 2
    assert lines.of("check", 0) == 2
    assert lines.of("check", 1) == 5
    assert lines.of("check", 1, "sub") == 6
    assert lines.of("a", "b") == 7


def test_an_unknown_place_has_the_line_of_what_holds_it() -> None:
    lines = lines_of("\n\n[[check]]\nrom = 4\n")
    assert lines.of("check", 0, "ram") == 3
    assert lines.of("check", 7, "ram") == 3
    assert lines.of("board", 0) == 1
    assert lines.of() == 1
    assert not lines.has("check", 0, "ram")


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "[[a",
        "a",
        "a = ",
        "a = [1",
        "a = {b",
        '"',
        'a = """',
        "= 1",
        "a = [1 2]",
        "{",
        "a = [}",
        "a = {]",
        "a = [,,",
    ],
)
def test_what_is_no_toml_ends_too(text: str) -> None:
    assert lines_of("x = 1\n" + text).of("x") == 1


def test_lists_deeper_than_python_goes() -> None:
    assert lines_of("x = 1\ny = " + "[" * 100_000).of("x") == 1


# Made-up documents. Every "@" becomes the number of its line, so that the document itself says
# where its keys stand.
TEXTS = st.sampled_from(
    [
        '"# [no.header] = 9"', "'[[x]]\\'", '"\\"]}"', "''", '""',
        '"""\n[[x]]\nrom = 9\n\\""" # """', "'''\n]\n}'''", "''''\n''''", '"""\\\n  a"""',
        "2020-01-02 03:04:05", "true", "1.5",
    ]
)  # fmt: skip
GAPS = st.sampled_from(["", " ", "\n", " # ] } [[x]] = 'a\n", "\n\n\t"])


def listed(parts: list[str], gaps: list[str]) -> str:
    return "[" + ",".join(gap + part + gap for part, gap in zip(parts, gaps, strict=True)) + "]"


def inline(parts: list[str]) -> str:
    return "{ " + ", ".join(f"k{n} . x = {part}" for n, part in enumerate(parts)) + " }"


VALUES = st.recursive(
    st.just("@") | TEXTS,
    lambda inner: st.one_of(
        st.lists(st.tuples(inner, GAPS), max_size=3).map(
            lambda pairs: listed([p for p, _ in pairs], [g for _, g in pairs])
        ),
        st.lists(inner.filter(lambda part: "\n" not in part), max_size=3).map(inline),
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(["rom", '"ram ]"', "'#x'", "deep . er", "a-1_b"])
ENDS = st.sampled_from(["\n", " # [x]\n", "\n\n", "\n# rom = 9\n"])
PAIRS = st.lists(st.tuples(KEYS, VALUES, ENDS), max_size=4, unique_by=lambda pair: pair[0])


@st.composite
def documents(draw: st.DrawFn) -> str:
    text = ""
    for number in range(draw(st.integers(1, 5))):
        header = draw(st.sampled_from(["[[check]]", f"[t{number}]", f"[ 'o' . \"p{number}\" ]"]))
        text += "".join((draw(st.sampled_from(["", "  "])), header, draw(ENDS)))
        text += "".join(f"{key} = {value}{end}" for key, value, end in draw(PAIRS))
    text += "[last]\nline = @\n"
    numbered = (line.replace("@", str(at)) for at, line in enumerate(text.split("\n"), start=1))
    return draw(st.sampled_from(["\n", "\r\n"])).join(numbered)


@settings(max_examples=200, deadline=None)
@given(documents())
def test_every_number_states_its_line(text: str) -> None:
    assert_every_number_states_its_line(text)


@settings(max_examples=200, deadline=None)
@given(documents(), st.data())
def test_a_document_cut_anywhere_ends(text: str, data: st.DataObject) -> None:
    cut = text[: data.draw(st.integers(0, len(text)))]
    for place, line in lines_of(cut).by_place.items():
        assert 1 <= line <= cut.count("\n") + 1, place
