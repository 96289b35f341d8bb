"""What strip saved of a bundle, and what it would save of files that were never stripped."""

import pytest

from quantize.strip import strip

SAVED = {"ad01": 3_472, "kws": 24_320, "resnet": 15_008, "speech": 896}


@pytest.mark.parametrize("name", SAVED)
def test_the_public_models_were_never_stripped(public_models, bundle_of, findings_of, name):
    data = public_models[name]
    (finding,) = findings_of(bundle_of({name: data}), "strip-savings")
    assert finding.saved_bytes == len(data) - len(strip(data)) == SAVED[name]
    assert (finding.where, finding.memory) == ((name,), "ROM")


def test_several_files_are_one_finding(public_models, bundle_of, findings_of):
    (finding,) = findings_of(bundle_of(public_models), "strip-savings")
    assert finding.saved_bytes == sum(SAVED.values())
    assert finding.text == ("42.7 KiB (10 %) of 4 nodes are never read by TensorFlow Lite Micro")


def test_a_stripped_bundle_is_told_what_it_saved(public_models, bundle_of, findings_of):
    stripped = strip(public_models["kws"])
    bundle = bundle_of({"kws": stripped}, stripped_bytes=SAVED["kws"])
    (finding,) = findings_of(bundle, "strip-savings")
    assert finding.saved_bytes == 0
    assert finding.text == ("strip took 23.8 KiB (45 %) off kws, and every output stayed the same")


def test_a_file_that_has_nothing_to_strip_gives_none(public_models, bundle_of, findings_of):
    bundle = bundle_of({"kws": strip(public_models["kws"])})
    assert findings_of(bundle, "strip-savings") == []
