"""Reading a bundle: one mutation of the manifest or of a file each, and the error that names it."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from quantize.bundle import Bundle, BundleError, Score

SCORE = Score(
    metric="accuracy",
    float_value=0.9919354838709677,
    int8_value=math.nan,
    samples=497,
    agreement=0.995,
    sqnr_db=31.2,
    largest_error=0.1,
    weakest_node="digit",
    node_sqnr_db={"trunk": math.inf, "digit": -math.inf},
)


@pytest.fixture(scope="module")
def scored(small_bundle):
    task = replace(small_bundle.tasks["digit"], score=SCORE)
    return replace(small_bundle, tasks=small_bundle.tasks | {"digit": task})


@pytest.fixture(scope="module")
def saved(scored, tmp_path_factory):
    return scored.save(tmp_path_factory.mktemp("saved") / "bundle")


@pytest.fixture
def folder(saved, tmp_path):
    """A fresh copy of a sound bundle, to be damaged."""
    return shutil.copytree(saved, tmp_path / "bundle")


def read(folder):
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def write(folder, manifest):
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def place(manifest, dotted):
    """The object that holds the last name of a dotted path, and that name."""
    *outer, last = dotted.split(".")
    for name in outer:
        manifest = manifest[name]
    return manifest, last


def fields_of(value, prefix=""):
    """Every field of a manifest by its dotted name; a user's own names (versions) are none."""
    for name, inner in value.items():
        if prefix not in ("versions.",):
            yield prefix + name
        if isinstance(inner, dict):
            yield from fields_of(inner, f"{prefix}{name}.")


def test_every_figure_comes_back_exactly(scored, saved):
    loaded = Bundle.load(saved)
    # NaN is not equal to itself, and stands apart.
    assert math.isnan(loaded.tasks["digit"].score.int8_value)
    score = replace(loaded.tasks["digit"].score, int8_value=0.0)
    assert score == replace(SCORE, int8_value=0.0)
    assert loaded.nodes == scored.nodes
    assert loaded.seams == scored.seams
    assert loaded.input_normalization == scored.input_normalization
    assert loaded.versions == scored.versions


@pytest.mark.parametrize("bits", [0x00000001, 0x3D4CCCCD, 0x3DCCCCCD, 0x3F7FFFFF, 0x7F7FFFFF])
def test_float32_scales_round_trip_through_json(bits):
    scale = float(np.array(bits, np.uint32).view(np.float32))
    returned = json.loads(json.dumps(scale))
    assert int(np.float32(returned).view(np.uint32)) == bits
    assert returned == scale


def test_all_orders_are_kept(scored, saved):
    loaded = Bundle.load(saved)
    assert list(loaded.nodes) == list(scored.nodes)
    assert list(loaded.tasks) == list(scored.tasks)


def test_numbers_of_numpy_are_written_as_numbers(small_bundle, tmp_path):
    node = replace(small_bundle.nodes["trunk"], macs=np.int64(7), parameters=np.int32(8))
    normalization = replace(small_bundle.input_normalization, scale=np.float32(0.5))
    nodes = small_bundle.nodes | {"trunk": node}
    bundle = replace(small_bundle, nodes=nodes, input_normalization=normalization)
    loaded = Bundle.load(bundle.save(tmp_path / "bundle"))
    assert (loaded.nodes["trunk"].macs, loaded.input_normalization.scale) == (7, 0.5)


def test_labels_in_any_script(small_bundle, tmp_path):
    labels = ("Äpfel", "り", '"quoted"', "a\nb", "")
    task = replace(small_bundle.tasks["digit"], labels=labels)
    bundle = replace(small_bundle, tasks=small_bundle.tasks | {"digit": task})
    folder = bundle.save(tmp_path / "bundle")
    assert Bundle.load(folder).tasks["digit"].labels == labels
    assert "Äpfel" in (folder / "manifest.json").read_text(encoding="utf-8")


def test_unknown_fields_are_passed_over(folder, scored):
    manifest = read(folder)
    manifest["added_later"] = {"by": "a newer library of the same format version"}
    manifest["nodes"]["trunk"]["added_later"] = 1
    write(folder, manifest)
    assert Bundle.load(folder).nodes == scored.nodes


def test_every_missing_field_is_named(saved, folder):
    manifest = read(saved)
    owners = {"nodes", "tasks", "seams"}
    for dotted in fields_of(manifest):
        parts = dotted.split(".")
        if len(parts) == 2 and parts[0] in owners:
            continue  # a whole node, task or seam; what then does not fit is another test's
        if parts[-2:-1] == ["node_sqnr_db"] or parts[-1] == "precision":
            continue
        damaged = read(saved)
        holder, last = place(damaged, dotted)
        del holder[last]
        write(folder, damaged)
        with pytest.raises(BundleError, match=f"`{dotted}` must be .* it is missing"):
            Bundle.load(folder)


def test_nodes_of_older_bundles_are_int8(saved, folder, scored):
    manifest = read(saved)
    assert {node.pop("precision") for node in manifest["nodes"].values()} == {"int8"}
    write(folder, manifest)
    assert Bundle.load(folder).nodes == scored.nodes


def test_an_unknown_precision_is_refused(saved, folder):
    manifest = read(saved)
    manifest["nodes"]["mid"]["precision"] = "int5"
    write(folder, manifest)
    message = "node 'mid': its precision must be one of int8, int4, .*; got 'int5'"
    with pytest.raises(BundleError, match=message):
        Bundle.load(folder)


def test_every_field_of_a_wrong_type_is_named(saved, folder):
    manifest = read(saved)
    for dotted in fields_of(manifest):
        if dotted == "added_later":
            continue
        damaged = read(saved)
        holder, last = place(damaged, dotted)
        holder[last] = [[]]
        write(folder, damaged)
        with pytest.raises(BundleError, match=f"`{dotted}` must be .*; got "):
            Bundle.load(folder)


@pytest.mark.parametrize(
    ("dotted", "value", "message"),
    [
        ("format", "keras-tree budget", "`format` must be 'keras-tree bundle'"),
        ("format_version", 0, "`format_version` must be an integer of at least 1; got 0"),
        ("format_version", True, "`format_version` must be an integer"),
        ("name", "", "`name` must be a text"),
        ("input_normalization.scale", 0.0, "finite scale other than 0"),
        ("input_normalization.scale", "1", "`input_normalization.scale` must be a finite number"),
        ("input_normalization.offset", 10**400, "`input_normalization.offset` must be a finite"),
        ("nodes", {}, "at least one node"),
        ("nodes.trunk.file", "../../etc/passwd", "`nodes.trunk.file` must be 'nodes/trunk.tflite'"),
        ("nodes.trunk.file", "nodes/digit.tflite", "must be 'nodes/trunk.tflite'; got 'nodes/digi"),
        (
            "nodes.trunk.bytes",
            3,
            r"node 'trunk': file 'nodes/trunk.tflite' must have 3 bytes .* it",
        ),
        ("nodes.trunk.sha256", "0" * 64, "node 'trunk': .* must have the SHA-256 0000"),
        ("nodes.trunk.sha256", "F" * 64, "must be a SHA-256 of 64 lower-case hex digits"),
        ("nodes.trunk.macs", -1, "`nodes.trunk.macs` must be an integer of at least 0; got -1"),
        ("nodes.trunk.macs", 1.5, "`nodes.trunk.macs` must be an integer"),
        ("nodes.trunk.operators", ["CONV_2D"], "node 'trunk': its operators must be CONV_2D as"),
        ("nodes.trunk.output.shape", [1, 4, 4, 9], r"node 'trunk': its output .* \(1, 4, 4, 9\)"),
        ("nodes.trunk.output.shape", [], "`nodes.trunk.output.shape` must be a list of integers"),
        ("nodes.trunk.output.shape", [True], "must be a list of integers of at least 1"),
        ("nodes.trunk.output.scale", 0.05, "`nodes.trunk.output.scale` .* exactly a float32"),
        ("nodes.trunk.output.scale", 0.0625, "node 'trunk': its output must be .* scale 0.0625"),
        ("nodes.trunk.output.scale", 1e300, "exactly a float32"),
        ("nodes.trunk.output.scale", 0, "above 0 that is exactly a float32; got 0"),
        ("nodes.trunk.output.zero_point", -127, "its output must be .* zero point -127 as"),
        ("nodes.trunk.output.zero_point", 128, "must be an integer of -128 to 127; got 128"),
        ("nodes.trunk.output.dtype", "float32", "must be 'int8'; got 'float32'"),
        ("nodes.trunk.input.zero_point", 0, "node 'trunk': its input must be .* zero point 0 as"),
        (
            "nodes.trunk.arena.head_bytes",
            "640",
            "`nodes.trunk.arena.head_bytes` must be an integer",
        ),
        (
            "seams.trunk.zero_point",
            -127,
            "`seams.trunk.contract` must be 'int8;1,4,4,8;3d4ccccd;-1",
        ),
        ("seams.trunk.contract_sha256", "0" * 64, "`seams.trunk.contract_sha256` must be '"),
        ("seams.trunk.producers", ["angle"], "seam 'trunk': the output of node 'angle' must be"),
        ("seams.trunk.consumers", ["mid"], "task 'digit': a seam must tie 'trunk' to 'digit'"),
        ("seams.trunk.consumers", ["mid", "digits"], "seam 'trunk': .* it names 'digits'"),
        ("seams", {}, "a seam must tie 'trunk' to 'digit'"),
        ("tasks", {}, "at least one task"),
        ("tasks.digit.path", ["trunk", "digitt"], "'digitt', which .* Did you mean 'digit'"),
        ("tasks.digit.path", [], "task 'digit': its path must name at least one node"),
        ("tasks.digit.path", ["trunk", 1], "`tasks.digit.path` must be a list of texts"),
        ("tasks.digit.labels", ["a", "b"], "task 'digit': its labels must be 5, .* got 2"),
        ("tasks.digit.golden.file", "/etc/passwd", "must be 'golden/digit.npz'"),
        ("tasks.digit.golden.sha256", "1" * 64, "task 'digit': file 'golden/digit.npz' must have"),
        ("tasks.digit.golden.count", 4, "`tasks.digit.golden.count` must be 3; got 4"),
        ("tasks.digit.golden.backend", "qemu", "must be one of tflm, litert; got 'qemu'"),
        ("tasks.digit.score.sqnr_db", "nan", '`tasks.digit.score.sqnr_db` must be a number, "inf"'),
        ("tasks.digit.score.samples", -1, "`tasks.digit.score.samples` must be an integer"),
    ],
)
def test_a_changed_manifest_is_refused(folder, dotted, value, message):
    manifest = read(folder)
    holder, last = place(manifest, dotted)
    assert holder[last] != value or type(holder[last]) is not type(value)
    holder[last] = value
    write(folder, manifest)
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.load(folder)
    assert str(caught.value).startswith(f"Bundle '{folder}' cannot be used. ")


def test_a_newer_format_names_both_versions_and_says_to_upgrade(folder):
    manifest = read(folder)
    manifest["format_version"] = 2
    del manifest["nodes"]
    write(folder, manifest)
    message = r"`format_version` is 2; keras-tree .* reads versions up to 1\. Upgrade keras-tree"
    with pytest.raises(BundleError, match=message):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ["../trunk", "nodes/trunk", "..", "", "a b"])
@pytest.mark.parametrize("owner", ["nodes", "tasks"])
def test_a_name_that_leaves_the_folder_is_refused(folder, owner, name):
    manifest = read(folder)
    manifest[owner][name] = next(iter(manifest[owner].values()))
    write(folder, manifest)
    with pytest.raises(BundleError, match=rf"Rename the {owner[:-1]}"):
        Bundle.load(folder)


def test_a_node_on_no_path_is_refused(folder):
    manifest = read(folder)
    del manifest["tasks"]["angle"]
    write(folder, manifest)
    with pytest.raises(BundleError, match="node 'mid': every node must be on the path of a task"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "must be JSON in UTF-8"),
        (b"{", "must be JSON in UTF-8"),
        (b'{"format": NaN}', "NaN is not JSON"),
        (b'{"name": "a", "name": "b"}', "a name occurs twice"),
        (b"\xff\xfe", "must be JSON in UTF-8"),
        (b"[" * 100_000, "must be JSON in UTF-8"),
        (b"[]", "the file must be an object"),
        (b"{}", "`format` must be 'keras-tree bundle'; it is missing"),
    ],
)
def test_what_is_no_manifest_is_refused(folder, text, message):
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(BundleError, match=message):
        Bundle.load(folder)


def remove(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def make_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("file", "owner"), [("nodes/mid.tflite", "node 'mid'"), ("golden/angle.npz", "task 'angle'")]
)
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove, "cannot be read: No such file"),
        (cut, r"must have \d+ bytes as the manifest says; it has \d+"),
        (flip, "must have the SHA-256"),
        (make_folder, "must have|cannot be read"),
    ],
)
def test_a_damaged_file_is_named_with_its_owner(folder, file, owner, damage, message):
    damage(folder / file)
    with pytest.raises(BundleError, match=rf"used\. {owner}: file '{file}'.*({message})"):
        Bundle.load(folder)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(BundleError, match=r"there is no folder '.*nothing'\. Write one"):
        Bundle.load(tmp_path / "nothing")


def test_a_folder_without_a_manifest(tmp_path):
    with pytest.raises(BundleError, match=r"has no manifest\.json\. Give the folder"):
        Bundle.load(tmp_path)


def test_the_manifest_itself_in_place_of_its_folder(folder):
    with pytest.raises(BundleError, match="there is no folder"):
        Bundle.load(folder / "manifest.json")
