"""Channels of a tree's tensors: which of them must stay or go together, and which must stay.

Every filter of a layer makes one channel, known by a number. A tensor's last axis is an array of
such numbers, so that concatenation, flattening and repetition are array operations. An addition
ties the channels that it adds: they are removed together or not at all.
"""

from __future__ import annotations

import numpy as np


class Channels:
    """Numbers of channels, the sets into which ties join them, and why a set must stay."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._reasons: dict[int, str] = {}

    def new(self, count: int) -> np.ndarray:
        """Return the numbers of `count` channels that are tied to nothing: int64 (count,)."""
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return np.arange(start, start + count, dtype=np.int64)

    def tie(self, first: np.ndarray, second: np.ndarray) -> None:
        """Tie channels pairwise; both arrays are (count,)."""
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            low, high = sorted((self.root(one), self.root(other)))
            if low == high:
                continue
            self._parents[high] = low
            if high in self._reasons:
                self._reasons.setdefault(low, self._reasons[high])

    def hold(self, channels: np.ndarray, reason: str) -> None:
        """Let channels, and what is or will be tied to them, stay for a reason."""
        for channel in np.unique(channels).tolist():
            self._reasons.setdefault(self.root(channel), reason)

    def root(self, channel: int) -> int:
        """Return the number that stands for all channels tied to one."""
        while self._parents[channel] != channel:
            self._parents[channel] = self._parents[self._parents[channel]]
            channel = self._parents[channel]
        return channel

    def reason(self, channel: int) -> str | None:
        """Return why a channel must stay, or None where it need not."""
        return self._reasons.get(self.root(channel))

    def kept(self, removed: set[int]) -> np.ndarray:
        """Return whether each channel stays, bool (all channels,), where some roots are removed."""
        return np.array([self.root(c) not in removed for c in range(len(self._parents))], bool)
