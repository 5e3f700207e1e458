"""Arguments of sound."""

from __future__ import annotations

import torch
from torch import nn

from paramlint.model.inputs import hf_doc
from paramlint.model.inputs.example import floats
from paramlint.model.inputs.hf_ask import Ask, makes

_BANDS = (
    "num_mel_bins", "n_mel_bins", "n_mels", "num_mel_channels", "feature_projection_input_dim",
    "input_feat_per_channel", "input_feat_size", "feature_size", "mel_dim", "model_in_dim",
)  # fmt: skip


def bands(ask: Ask) -> int:
    return ask.sizes.number("audio", *_BANDS, default=80)


def _whole(ask: Ask) -> int:
    """Frames that an encoder wants exactly, since its positions are counted; 0 where any number will do."""
    positions = ask.sizes.find("audio", "max_source_positions")
    first = any(isinstance(m, nn.Conv1d) and m.in_channels == bands(ask) for m in ask.model.modules())
    return 2 * positions if first and isinstance(positions, int) and positions <= 3000 else 0


def frames(ask: Ask) -> int:
    """Frames of a spectrogram: as many as the encoder wants, or about a second."""
    return _whole(ask) or 128


@makes("input_features", "audio_input_features", "audio_mel")
def spectrogram(ask: Ask) -> torch.Tensor:
    told = hf_doc.shape(ask, "input_features")
    if told is not None and (len(told) > 3 or told[-1] == frames(ask) != told[1]):
        return floats(*told)
    return floats(ask.batch, *((bands(ask), frames(ask)) if _whole(ask) else (frames(ask), bands(ask))))


@makes("input_features_mask", "audio_mel_mask")
def spectrogram_mask(ask: Ask) -> torch.Tensor:
    return torch.ones(ask.batch, frames(ask), dtype=torch.bool)


def samples(ask: Ask) -> int:
    """Samples of a waveform: about a second."""
    return 16000


@makes("input_values", "audio_values")
def waveform(ask: Ask) -> torch.Tensor:
    told = hf_doc.shape(ask, "input_values")
    return (
        floats(ask.batch, 1, samples(ask)) if told is not None and len(told) == 3 else floats(ask.batch, samples(ask))
    )


@makes("padding_mask")
def waveform_mask(ask: Ask) -> torch.Tensor:
    return torch.ones(waveform(ask).shape, dtype=torch.long)
