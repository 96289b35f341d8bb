"""A seam larger than the input: told with both sizes, and whether it is copied."""

import pytest

PATHS = {"one": ("trunk", "a"), "two": ("trunk", "b")}


def trunk_of(made, channels):
    """A node from (1, 8, 8, 1), 64 B, to (1, 8, 8, channels)."""
    writer = made.FlatbufferWriter()
    image = writer.tensor((1, 8, 8, 1), "INT8", 0.02, -5)
    output = made.convolution(writer, image, (1, 8, 8, 1), channels, 0.04, 1)
    return writer.bytes([image], [output])


def tree_of(made, flatbuffer, channels):
    head = flatbuffer("ADD", shape=(1, 8, 8, channels))
    return {"trunk": trunk_of(made, channels), "a": head, "b": head}


@pytest.mark.parametrize(("channels", "count"), [(1, 0), (2, 1), (8, 1)])
def test_a_seam_wider_than_the_input(made, flatbuffer, bundle_of, findings_of, channels, count):
    bundle = bundle_of(tree_of(made, flatbuffer, channels), PATHS)
    findings = findings_of(bundle, "wide-seam")
    assert len(findings) == count
    for finding in findings:
        assert finding.where == ("trunk",)
        assert finding.text == (
            f"the output of trunk, {64 * channels} B, is {channels:.1f} times the input of 64 B, "
            "and is copied for those that read it later"
        )
        assert (finding.memory, finding.saved_bytes) == ("RAM", 0)


def test_the_seam_of_one_task_is_not_copied(made, flatbuffer, bundle_of, findings_of):
    bundle = bundle_of(tree_of(made, flatbuffer, 4), PATHS)
    (finding,) = findings_of(bundle, "wide-seam", tasks=("one",))
    assert finding.text == "the output of trunk, 256 B, is 4.0 times the input of 64 B"


def test_an_output_of_a_task_is_no_seam(made, bundle_of, findings_of):
    assert findings_of(bundle_of({"trunk": trunk_of(made, 8)}), "wide-seam") == []
