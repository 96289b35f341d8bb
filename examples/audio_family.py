"""Spoken digits and command words, two datasets, one trunk over a log-mel front end.

Reads `fsdd_8k.npz` (int16 samples at 8 kHz) and `speech_commands12_8k_mulaw.npz` (mu-law codes,
uint8) from a folder: one second each, arrays `x_train`, `y_train`, `x_test`, `y_test`. The speakers
of the test data do not occur in the training data. The front end runs outside the model, as it does
on a device:

    python examples/audio_family.py --data FOLDER --out audio-family
"""

from pathlib import Path

import family
import keras
import numpy as np
from keras import layers

from keras_tree import Split, load_npz

SAMPLE_RATE_HZ = 8000
FRAME_SAMPLES, HOP_SAMPLES, MEL_BANDS = (
    256,
    160,
    32,
)  # 32 ms windows every 20 ms: 49 frames a second
FILES = {"spoken_digit": "fsdd_8k.npz", "command": "speech_commands12_8k_mulaw.npz"}


def expand_mu_law(codes: np.ndarray) -> np.ndarray:
    """Mu-law codes, uint8, to waveforms, float32 in -1..1, of the same shape."""
    f = codes.astype("float32") / 255 * 2 - 1
    return np.sign(f) * (256 ** np.abs(f) - 1) / 255


def mel_filters() -> np.ndarray:
    """Triangular filters, evenly spaced on the mel scale from 60 Hz: `(frequencies, MEL_BANDS)`."""

    def to_mel(hz: np.ndarray | float) -> np.ndarray:
        return 2595 * np.log10(1 + np.asarray(hz) / 700)

    frequencies = np.fft.rfftfreq(FRAME_SAMPLES, 1 / SAMPLE_RATE_HZ)
    edges = np.linspace(to_mel(60.0), to_mel(SAMPLE_RATE_HZ / 2), MEL_BANDS + 2)
    mels = to_mel(frequencies)[:, None]
    rising = (mels - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mels) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype("float32")


def log_mel(waveforms: np.ndarray) -> np.ndarray:
    """Log-mel spectrograms of waveforms, float32 of shape `(n, samples)` in -1..1.

    Returns:
        Float32 of shape `(n, frames, MEL_BANDS, 1)`; every recording has mean 0 and deviation 1, so
        the gain of the microphone does not matter.
    """
    window, filters = np.hanning(FRAME_SAMPLES).astype("float32"), mel_filters()
    spectrograms = []
    for start in range(0, len(waveforms), 256):
        part = waveforms[start : start + 256]
        frames = np.lib.stride_tricks.sliding_window_view(part, FRAME_SAMPLES, axis=1)
        power = np.abs(np.fft.rfft(frames[:, ::HOP_SAMPLES] * window)) ** 2
        spectrograms.append(np.log(power.astype("float32") @ filters + 1e-4))
    x = np.concatenate(spectrograms)
    x = x - x.mean(axis=(1, 2), keepdims=True)
    return (x / (x.std(axis=(1, 2), keepdims=True) + 1e-3))[..., None].astype("float32")


def load_recordings(folder: Path) -> tuple[dict[str, Split], dict[str, tuple[str, ...]]]:
    """Log-mel spectrograms per task, and the names of the classes."""

    def features(x: np.ndarray) -> np.ndarray:
        return log_mel(expand_mu_law(x) if x.dtype == np.uint8 else x.astype("float32") / 32768)

    data = {}
    for name, file in FILES.items():
        split = load_npz(folder / file)
        data[name] = Split(
            features(split.x_train), split.y_train, features(split.x_test), split.y_test
        )
    with np.load(folder / FILES["command"]) as arrays:
        words = tuple(str(word) for word in arrays["labels"])
    return data, {"spoken_digit": tuple("0123456789"), "command": words}


def shift_in_time(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Move each spectrogram of the batch by up to 4 frames (80 ms) and hide a few of its frames."""
    moved = np.stack(
        [
            np.roll(s, shift, axis=0)
            for s, shift in zip(x, generator.integers(-4, 5, len(x)), strict=True)
        ]
    )
    for spectrogram, start in zip(
        moved, generator.integers(0, x.shape[1] - 6, len(x)), strict=True
    ):
        spectrogram[start : start + 6] = 0
    return moved


def make_trunk() -> keras.Model:
    spectrogram = keras.Input((49, MEL_BANDS, 1), name="spectrogram")
    x = family.convolution(spectrogram, 24, strides=2)
    x = family.convolution(x, 48, strides=2, separable=True)
    x = family.convolution(x, 64, strides=(2, 1), separable=True)
    return keras.Model(spectrogram, family.convolution(x, 64, separable=True), name="trunk")


def make_branch(features_shape: tuple[int, ...], classes: int, name: str) -> keras.Model:
    features = keras.Input(features_shape, name=f"{name}_features")
    x = family.convolution(features, 64, separable=True)
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(features, layers.Dense(classes, activation="softmax")(x), name=name)


def load_family(folder: Path) -> family.Family:
    data, labels = load_recordings(folder)
    return family.Family(data, labels, make_trunk, make_branch, shift_in_time)


if __name__ == "__main__":
    family.run(__doc__, load_family, "audio-family", 15, 59)
