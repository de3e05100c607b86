"""Networks that hear: a sound goes in as overlapping windows, each window a frame.

A sound is mixed down to one channel, brought to the network's number of samples a second and cut into windows, one hop
after the other. Three networks are known, by what they take and give:

- CREPE (Kim et al. 2018, arXiv 1802.06182): windows of 1,024 samples at 16 kHz every 10 ms, each less its mean and
  divided by its standard deviation; a result is the pitch of its middle;
- SwiftF0 (Nieradzik 2025): windows of any length at 16 kHz, the spectrogram is made inside; a result is the pitch every
  256 samples, with the range of pitches in two further inputs;
- Basic Pitch (Bittner et al. 2022, arXiv 2203.09893): windows of 43,844 samples at 22,050 Hz; a result is its outputs.

Of any other network with one input of samples a result is its outputs, as of the recipe `raw`.

A stream compares sample with sample at the same place of the window. Silence and windows that come again cost nothing;
the samples that two overlapping windows share lie at other places and are work like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from reconv.errors import InputError
from reconv.graph import TensorInfo, is_half
from reconv.recipes.framing import window_count, windows
from reconv.recipes.pitch import BINS, Pitch, of_bins, of_pair, pitch_agreement, pitch_drift
from reconv.recipes.raw import Raw
from reconv.recipes.recipe import Ends, Frame, Outputs, Recipe, Size
from reconv.recipes.resample import resampled
from reconv.recipes.sources import Source
from reconv.recipes.wav import Sound

__all__ = ["Audio", "Family"]

LEAST_SPREAD = 1e-10  # of a window that is divided by its standard deviation: silence stays silence


@dataclass(frozen=True)
class Family:
    """What is known of one network.

    rate: samples a second; window, hop: in samples, where the model leaves the window open; scaled: windows have
    mean 0 and standard deviation 1; voiced: from which confidence on there is a pitch; others: further inputs and
    their values.
    """

    rate: int = 16000
    window: int = 0
    hop: int = 0
    scaled: bool = False
    voiced: float = 0.0
    others: Mapping[str, float] = field(default_factory=dict)


OTHER = Family()
CREPE = Family(16000, 1024, 160, scaled=True, voiced=0.5)
# the package's own bar and range of pitches; the window is a multiple of the 256 samples between its moments
SWIFT_F0 = Family(16000, 8192, 2048, voiced=0.9, others={"fmin": 46.875, "fmax": 2093.75})
BASIC_PITCH = Family(22050, 43844, 43844 - 7680)  # windows overlap by 30 of its frames of 256 samples


def family_of(inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]) -> Family:
    """The known network that has these inputs and outputs, else `OTHER`."""
    names = {info.name for info in inputs[1:]}
    shapes = [info.shape for info in outputs]
    window = _window(inputs[0])
    if names == SWIFT_F0.others.keys() and len(outputs) == 2:
        return SWIFT_F0
    if window == CREPE.window and len(shapes) == 1 and shapes[0][1:] == (BINS,):
        return CREPE
    if window == BASIC_PITCH.window and len(outputs) == 3:
        return BASIC_PITCH
    return OTHER


def _window(info: TensorInfo) -> int | None:
    """The length of the windows that the model fixes."""
    fixed = [size for size in info.shape[len(info.shape) > 1 :] if isinstance(size, int) and size != 1]
    return fixed[0] if len(fixed) == 1 else None


class Audio(Recipe):
    """A result is a `Pitch`, or the dict of outputs of a network that is not known.

    Args:
        input: the input that takes samples: (n,), (batch, n), (batch, n, 1) or (batch, 1, n) of floats.
        frame_shape: None; sounds are not pictures.
        size: (1, samples) of a window; None takes what the model fixes, else what suits the known network.
        family: which known network this is.
        hop: samples from a window to the next; None takes the family's, else a quarter of the window.
        rate: samples a second that the network expects; None takes the family's, 16,000 of an unknown one.

    Raises:
        InputError: the input does not take samples, or a number does not fit the model.
    """

    name: ClassVar[str] = "audio"
    pictures: ClassVar[bool] = False

    def __init__(
        self,
        input: TensorInfo,
        frame_shape: Size | None = None,
        size: Size | None = None,
        *,
        family: Family = OTHER,
        hop: int | None = None,
        rate: int | None = None,
    ) -> None:
        if frame_shape is not None:
            raise InputError("recipe audio takes sounds, the source is made of pictures")
        floats = input.dtype == np.float32 or is_half(input.dtype)
        if not 1 <= len(input.shape) <= 3 or not floats or sum(n != 1 for n in input.shape[1:]) > 1:
            raise InputError(f"recipe audio needs an input of samples, (batch, n) of floats; the model has {input}")
        self.input, self.family = input, family
        self.window = self._length(size)
        self.size, self.frame_shape = (1, self.window), (0, 0)
        usual = min(family.hop, self.window) or max(1, self.window // 4)
        self.hop = usual if hop is None else hop
        self.rate = family.rate if rate is None else rate
        if not 1 <= self.hop <= self.window or self.rate < 1:
            raise InputError(
                f"recipe audio needs a hop from 1 to the window's {self.window} samples and a rate from 1 up, "
                f"got {self.hop} and {self.rate}"
            )
        self._raw = Raw(input, None, None)

    @classmethod
    def for_model(cls, model: Ends, frame_shape: Size | None, size: Size | None) -> Audio:
        return cls(model.inputs[0], frame_shape, size, family=family_of(model.inputs, model.outputs))

    def _length(self, size: Size | None) -> int:
        own = _window(self.input)
        if size is not None and size[0] != 1:
            raise InputError(f"recipe audio needs a window as --size 1xSAMPLES, got {size[0]}x{size[1]}")
        asked = None if size is None else size[1]
        if own is not None and asked not in (None, own):
            raise InputError(f"the model's input has a fixed length of {own}, --size asks for {asked}")
        length = own or asked or self.family.window
        if not length:
            raise InputError("the model leaves the length of its windows open: give --size 1xSAMPLES, 1x16000 say")
        return length

    def framed(self, source: Source) -> Source:
        """The windows of a sound: float32 (window,), mixed down, at the network's samples a second.

        A source of arrays comes as it is: its entries are windows.
        """
        sound = source.sound
        if sound is None:
            return source
        count = window_count(-(-sound.length * self.rate // sound.rate), self.window, self.hop)
        return replace(source, rate=self.rate / self.hop, count=count, frames=lambda: self.windows(sound))

    def windows(self, sound: Sound) -> Iterator[NDArray[np.float32]]:
        """The windows (window,) of a sound."""
        mono = (block.mean(1, dtype=np.float32) for block in sound.blocks())
        return windows(resampled(mono, sound.rate, self.rate), self.window, self.hop)

    def preprocess(self, frame: Frame) -> NDArray[np.float32]:
        """The network's input for a window (window,) of samples from -1 to 1."""
        if frame.shape != (self.window,) or not np.issubdtype(frame.dtype, np.floating):
            wanted = f"float ({self.window},)"
            raise InputError(f"recipe audio was made for windows of {wanted}, got {frame.dtype} {frame.shape}")
        samples = np.asarray(frame, np.float32)
        if self.family.scaled:
            samples = samples - samples.mean()
            samples = samples / max(LEAST_SPREAD, float(samples.std(ddof=1)))
        shape = [-1 if n == self.window or not isinstance(n, int) else 1 for n in self.input.shape]
        if len(shape) > 1:
            shape[0] = 1  # the batch
        return np.ascontiguousarray(samples, np.float32).reshape(shape)

    @property
    def takes_bytes(self) -> bool:
        return False  # samples are no pixels

    def inputs(self, frame: Frame) -> dict[str, NDArray[Any]]:
        usual = {name: np.array(value, np.float32) for name, value in self.family.others.items()}
        made = super().inputs(frame)
        return {self.input.name: made[self.input.name], **usual, **made}  # the samples first

    def decode(self, outputs: Outputs) -> Pitch | dict[str, NDArray[Any]]:
        if self.family is CREPE:
            values = next(iter(outputs.values()))
            self.expect(outputs, f"one output (1, {BINS})", len(outputs) == 1 and values.shape == (1, BINS))
            return of_bins(values, CREPE.voiced)
        if self.family is SWIFT_F0:
            pair = list(outputs.values())
            fits = len(pair) == 2 and pair[0].ndim == 2 and pair[0].shape[0] == 1 and pair[0].shape == pair[1].shape
            self.expect(outputs, "two outputs (1, n), the pitch and how sure it is", fits)
            return of_pair(pair[0], pair[1], SWIFT_F0.voiced)
        return self._raw.decode(outputs)

    def agreement(self, results: Sequence[Any], dense_results: Sequence[Any]) -> dict[str, float]:
        """Of pitches as `reconv.recipes.pitch.pitch_agreement`, of raw outputs as the recipe `raw`."""
        if dense_results and isinstance(dense_results[0], Pitch):
            return pitch_agreement(results, dense_results)
        return self._raw.agreement(results, dense_results)

    def drift(self, result: Any, dense_result: Any) -> float:
        return pitch_drift(result, dense_result) if isinstance(result, Pitch) else super().drift(result, dense_result)

    def draw(self, frame: Frame, result: Any) -> Frame:  # noqa: ARG002
        raise InputError("recipe audio has no pictures to draw on: write the results as .jsonl or .npz")

    def on_frame(self, plane: NDArray[Any]) -> NDArray[Any]:  # noqa: ARG002
        raise InputError("recipe audio has no pictures to lay anything over")

    def to_json(self, result: Any) -> Any:
        """Of each moment {"hz", "confidence"}; hz is null where there is no pitch."""
        if not isinstance(result, Pitch):
            return self._raw.to_json(result)
        moments = zip(result.hz, result.confidence, result.voiced, strict=True)
        return [{"hz": round(float(h), 2) if v else None, "confidence": round(float(c), 4)} for h, c, v in moments]
