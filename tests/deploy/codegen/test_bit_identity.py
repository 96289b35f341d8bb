"""Generated C computes what TensorFlow Lite Micro computes, code for code."""

import pytest

from deploy.models import load_models

MODELS = (
    "mlperftiny__ad01_int8.tflite",
    "mlperftiny__kws_ref_model.tflite",
    "mlperftiny__pretrainedResnet_quant.tflite",
    "tflm__micro_speech_quantized.tflite",
)


@pytest.mark.parametrize("name", MODELS)
def test_public_models(shared, assert_equal_to_tflm, name):
    assert_equal_to_tflm(load_models([shared / "models" / name]), count=5)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_public_models_on_a_thousand_inputs(shared, assert_equal_to_tflm, name):
    assert_equal_to_tflm(load_models([shared / "models" / name]), count=1000, seed=1)
