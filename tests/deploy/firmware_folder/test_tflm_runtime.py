"""A folder for TensorFlow Lite Micro compiles against declarations, and asks for the runtime."""

from folder_building import DECLARATIONS, STRICT, cmake, make, run, written

from deploy.tflm_sources import tflm_sources


def test_the_sources_for_tflm_compile(on_tflm, device_bundle, nano33ble, tmp_path):
    folder = written(on_tflm, tmp_path / "firmware")
    strict = f"CXXFLAGS={STRICT}"
    parts = ("kt_tflm_selftest.cc", "kt_model_golden.cc", "kt_model_selftest.cc", "host.c")
    tests = [f"build/objects/{name}.o" for name in parts]
    make(folder, "library", *tests, f"KT_TFLM_DIR={DECLARATIONS}", strict, f"CFLAGS={STRICT}")
    generated = tflm_sources(device_bundle, nano33ble)
    for name, text in generated.items():
        place = "selftest" if name in ("kt_model_golden.cc", "kt_model_selftest.cc") else "model"
        assert (folder / place / name).read_text() == text


def test_a_project_that_has_tflm_names_its_target(on_tflm, tmp_path):
    written(on_tflm, tmp_path / "project" / "firmware")
    project = tmp_path / "project"
    (project / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(app C CXX)\nadd_library(micro INTERFACE)\n"
        f'target_include_directories(micro INTERFACE "{DECLARATIONS}")\n'
        "set(KT_TFLM_TARGET micro)\nadd_subdirectory(firmware)\n"
    )
    run(cmake(), "-S", project, "-B", tmp_path / "build")
    # Declarations define nothing: a library is made, and nothing is linked.
    run(cmake(), "--build", tmp_path / "build")


def test_tflm_must_be_named(on_tflm, tmp_path):
    folder = written(on_tflm, tmp_path / "firmware")
    done = make(folder, "test", check=False)
    assert "KT_TFLM_DIR must name a checkout of tflite-micro, received ''" in done.stderr
    assert "image device, version 0: sound" in done.stdout
    done = make(folder, "test", f"KT_TFLM_DIR={DECLARATIONS}", check=False)
    assert "KT_TFLM_LIBRARY must name libtensorflow-microlite.a" in done.stderr
    done = run(cmake(), "-S", folder, "-B", tmp_path / "build", check=False)
    assert "KT_TFLM_DIR must name a checkout" in done.stderr
