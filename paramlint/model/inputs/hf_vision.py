"""Arguments of images and videos."""

from __future__ import annotations

import torch

from paramlint.model.inputs import hf_doc
from paramlint.model.inputs.example import floats, integers
from paramlint.model.inputs.hf_ask import WORDS, Ask, makes
from paramlint.model.inputs.hf_tokens import kinds

_FRAMES = 4


def merge(ask: Ask) -> int:
    """Patches along each side that become one token."""
    return ask.sizes.number(
        "image", "spatial_merge_size", "merge_size", "hidden_stride", "downsample_factor", default=2
    )


def patch(ask: Ask) -> int:
    return ask.sizes.number("image", "patch_size", "vision_patch_size", default=16)


def channels(ask: Ask) -> int:
    return ask.sizes.number("image", "num_channels", "in_channels", "in_chans", "input_channels", default=3)


def image_size(ask: Ask) -> tuple[int, int]:
    found = ask.sizes.pair("image", "image_size", "img_size", "crop_size", "image_resolution", "input_size")
    h, w = found or (224, 224)
    scale = ask.sizes.find("image", "scale_factor", "pixel_shuffle_factor", "num_windows")
    if isinstance(scale, int) and scale > 1:  # that many patches along each side become one token, or windows
        step = scale * patch(ask)
        return max(1, h // step) * step, max(1, w // step) * step
    return h, w


def grid(ask: Ask, kind: str = "image") -> tuple[int, int, int]:
    """Patches of an image or video: frames, rows, columns."""
    side = merge(ask) * 2
    return (1, side, side) if kind == "image" else (2, side, side)


def flat(ask: Ask) -> bool:
    """Whether images come as one long row of patches, with a grid that says which are whose."""
    return ask.takes("image_grid_thw", "grid_thw", "video_grid_thw", "image_grid_hw")


def _flattened(ask: Ask, kind: str) -> torch.Tensor:
    t, h, w = grid(ask, kind)
    depth = ask.sizes.number("image", "temporal_patch_size", "patch_temporal", default=1)
    return floats(ask.batch * t * h * w, channels(ask) * depth * patch(ask) ** 2)


@makes("pixel_values", "image_pixel_values", "pixel_values_images", "prompt_pixel_values", "codebook_pixel_values")
def image(ask: Ask) -> torch.Tensor:
    if ask.takes("spatial_shapes", "pixel_position_ids", "image_position_ids"):
        _, rows, columns = grid(ask)
        return floats(ask.batch, rows * columns, channels(ask) * patch(ask) ** 2)
    told = hf_doc.shape(ask, "pixel_values")
    if told is not None and (len(told) != 4 or told[0] != ask.batch):
        return floats(*told)
    if flat(ask):
        return _flattened(ask, "image")
    h, w = image_size(ask)
    frames = frames_of(ask)
    if frames and not ask.takes("pixel_values_videos"):
        return floats(ask.batch, frames, channels(ask), h, w)
    return floats(ask.batch, channels(ask), h, w)


def frames_of(ask: Ask) -> int:
    """Frames that the configuration names; 0 where it is about single images."""
    own = getattr(ask.config, "num_frames", None) or getattr(ask.config, "frames_per_clip", None)
    return own if isinstance(own, int) else 0


@makes("pixel_values_videos")
def video(ask: Ask) -> torch.Tensor:
    if flat(ask):
        return _flattened(ask, "video")
    frames = frames_of(ask) or ask.sizes.number("image", "num_frames", default=_FRAMES)
    return floats(ask.batch, frames, channels(ask), *image_size(ask))


@makes("image_grid_thw", "grid_thw")
def image_grid(ask: Ask) -> torch.Tensor:
    return torch.tensor([grid(ask)] * ask.batch, dtype=torch.long)


@makes("video_grid_thw")
def video_grid(ask: Ask) -> torch.Tensor:
    return torch.tensor([grid(ask, "video")] * ask.batch, dtype=torch.long)


@makes("image_grid_hw", "spatial_shapes")
def image_grid_flat(ask: Ask) -> torch.Tensor:
    return torch.tensor([grid(ask)[1:]] * ask.batch, dtype=torch.long)


@makes("image_merge_sizes", "video_merge_sizes", "merge_sizes")
def merges(ask: Ask) -> torch.Tensor:
    return integers(ask.batch, value=merge(ask))


@makes("mm_token_type_ids")
def token_kinds(ask: Ask) -> torch.Tensor:
    ids = ask.make("input_ids")
    assert isinstance(ids, torch.Tensor)
    return kinds(ask, ids)


@makes("image_sizes")
def sizes(ask: Ask) -> torch.Tensor:
    return torch.tensor([image_size(ask)] * ask.batch, dtype=torch.long)


@makes("pixel_mask", "pixel_attention_mask")
def pixel_mask(ask: Ask) -> torch.Tensor:
    made = image(ask)
    if made.ndim == 3:
        return torch.ones(made.shape[:2], dtype=torch.long)
    return torch.ones((made.shape[0], *made.shape[-2:]), dtype=torch.long)


@makes("bool_masked_pos")
def hidden_patches(ask: Ask) -> torch.Tensor:
    """Half of the patches masked, the same number in each row."""
    h, w = image_size(ask)
    n = (h // patch(ask)) * (w // patch(ask))
    frames = frames_of(ask)
    if frames:
        n *= frames // ask.sizes.number("image", "tubelet_size", "temporal_patch_size", default=1)
    return (torch.arange(n) % 2).bool().expand(ask.batch, n).contiguous()


@makes("image_position_ids", "pixel_position_ids")
def patch_positions(ask: Ask) -> torch.Tensor:
    """Column and row of each patch."""
    _, h, w = grid(ask)
    places = torch.stack(torch.meshgrid(torch.arange(w), torch.arange(h), indexing="xy"), -1).reshape(1, -1, 2)
    return places.expand(ask.batch, -1, -1).contiguous()


@makes("input_points")
def points(ask: Ask) -> torch.Tensor:
    """One point in one prompt for each image, in pixels."""
    return floats(ask.batch, 1, 1, 2)


@makes("input_labels")
def point_labels(ask: Ask) -> torch.Tensor:
    return torch.ones(ask.batch, 1, 1, dtype=torch.long)


@makes("input_boxes")
def boxes(ask: Ask) -> torch.Tensor:
    return floats(ask.batch, 1, 4)


@makes("input_masks")
def masks(ask: Ask) -> torch.Tensor:
    """A first guess of the mask, four times as fine as the features of the image."""
    h, w = image_size(ask)
    return floats(ask.batch, 1, h // patch(ask) * 4, w // patch(ask) * 4)


@makes("flattened_patches")
def patches(ask: Ask) -> torch.Tensor:
    return floats(ask.batch, 16, 2 + channels(ask) * patch(ask) ** 2)


@makes("hidden_states")
def stream(ask: Ask) -> torch.Tensor:
    """Patches of a tower that takes them under this name, else hidden states."""
    return _flattened(ask, "image") if flat(ask) else floats(ask.batch, WORDS, ask.hidden)
