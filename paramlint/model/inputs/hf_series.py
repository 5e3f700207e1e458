"""Arguments of time series, and of decisions in time."""

from __future__ import annotations

import torch

from paramlint.model.inputs.example import floats
from paramlint.model.inputs.hf_ask import Ask, makes


def _length(ask: Ask) -> int:
    lags = ask.sizes.find("text", "lags_sequence")
    more = max(lags) if isinstance(lags, (list, tuple)) and lags else 0
    return ask.dim("context_length", "seq_length", default=64) + int(more)


@makes("past_values")
def past(ask: Ask) -> torch.Tensor:
    """What was measured: several series at a time where the model says so."""
    told = ask.documented.get("past_values", ("", ""))[1]
    series = ask.dim("input_size", "num_input_channels", default=1)
    if told.count(",") > 1 or series > 1:
        return floats(ask.batch, _length(ask), series)
    return floats(ask.batch, _length(ask))


@makes("past_observed_mask")
def observed(ask: Ask) -> torch.Tensor:
    return floats(*past(ask).shape)


@makes("past_values_padding")
def padded(ask: Ask) -> torch.Tensor:
    return torch.zeros(past(ask).shape, dtype=torch.long)


@makes("past_time_features")
def when(ask: Ask) -> torch.Tensor:
    """As many features of the time as there are; the age of the series is one that the model adds itself."""
    return floats(ask.batch, _length(ask), ask.dim("num_time_features", default=0))


@makes("future_values")
def future(ask: Ask) -> torch.Tensor:
    series = ask.dim("input_size", default=1)
    length = ask.dim("prediction_length", default=8)
    return floats(ask.batch, length, series) if series > 1 else floats(ask.batch, length)


@makes("future_time_features")
def then(ask: Ask) -> torch.Tensor:
    return floats(ask.batch, ask.dim("prediction_length", default=8), ask.dim("num_time_features", default=0))


@makes("static_categorical_features")
def kinds(ask: Ask) -> torch.Tensor | None:
    count = ask.dim("num_static_categorical_features", default=0)
    return torch.zeros(ask.batch, count, dtype=torch.long) if count else None


@makes("static_real_features")
def sizes(ask: Ask) -> torch.Tensor | None:
    count = ask.dim("num_static_real_features", default=0)
    return floats(ask.batch, count) if count else None
