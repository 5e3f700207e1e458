"""Arguments of text: tokens, and what goes along with them."""

from __future__ import annotations

import torch

from paramlint.model.inputs.example import floats, integers
from paramlint.model.inputs.hf_ask import WORDS, Ask, makes
from paramlint.model.inputs.hf_tokens import counts, row


@makes("input_ids", "text_input_ids")
def text(ask: Ask) -> torch.Tensor:
    tokens = row(ask, counts(ask))
    made = torch.tensor([tokens[:1] + [ask.word] * _places(ask) + tokens[1:]] * ask.batch, dtype=torch.long)
    books = ask.dim("num_codebooks", default=0)
    if "num_codebooks" in ask.documented.get("input_ids", ("", ""))[1] and books:
        return integers(ask.batch, made.shape[1], books)
    choices = _choices(ask)
    return made[:, None].expand(-1, choices, -1).contiguous() if choices else made


def _places(ask: Ask) -> int:
    """Tokens that stand where features of an image go, if a mask says where that is, and no token of its own."""
    if not ask.takes("image_embeds_position_mask") or "image" not in ask.giving:
        return 0
    return ask.sizes.number("image", "latent_query_num", "num_query_tokens", default=0)


@makes("image_embeds_position_mask")
def image_places(ask: Ask) -> torch.Tensor:
    found = torch.zeros(text(ask).shape, dtype=torch.long)
    found[:, 1 : 1 + _places(ask)] = 1
    return found


def _choices(ask: Ask) -> int:
    """A model that scores answers reads them side by side: (batch, choices, tokens)."""
    return 2 if "num_choices" in ask.documented.get("input_ids", ("", ""))[1] else 0


@makes("decoder_input_ids")
def decoder_text(ask: Ask) -> torch.Tensor:
    start = ask.sizes.find("text", "decoder_start_token_id")
    made = integers(ask.batch, WORDS, value=ask.word)
    if isinstance(start, int) and start >= 0:
        made[:, 0] = start
    return made


@makes("qformer_input_ids", "tasks_input_ids", "protein_input_ids")
def other_text(ask: Ask) -> torch.Tensor:
    made = integers(ask.batch, WORDS, value=5)
    made[:, -1] = ask.last
    return made


@makes("classes_input_ids")
def class_names(ask: Ask) -> torch.Tensor:
    """Two classes to look for in each image, one text each."""
    one: torch.Tensor = other_text(ask)
    return one.repeat(2, 1)


@makes("classes_attention_mask")
def class_masks(ask: Ask) -> torch.Tensor:
    return torch.ones(2 * ask.batch, WORDS, dtype=torch.long)


@makes("classes_structure")
def classes_each(ask: Ask) -> torch.Tensor:
    return integers(ask.batch, value=2)


@makes("attention_mask")
def mask(ask: Ask) -> torch.Tensor:
    return torch.ones(text(ask).shape, dtype=torch.long)


@makes("decoder_attention_mask", "tasks_attention_mask", "protein_attention_mask", "qformer_attention_mask")
def other_mask(ask: Ask) -> torch.Tensor:
    return torch.ones(ask.batch, WORDS, dtype=torch.long)


@makes("token_type_ids")
def types(ask: Ask) -> torch.Tensor:
    return torch.zeros(text(ask).shape, dtype=torch.long)


@makes("position_ids")
def positions(ask: Ask) -> torch.Tensor:
    ids = text(ask)
    return torch.arange(ids.shape[-1]).expand(ids.shape)


@makes("input_shape_ids", "input_pronunciation_ids", "task_type_ids", "langs")
def beside(ask: Ask) -> torch.Tensor:
    return torch.zeros(text(ask).shape, dtype=torch.long)


@makes("lengths")
def lengths(ask: Ask) -> torch.Tensor:
    return integers(ask.batch, value=WORDS)


@makes("bbox")
def boxes(ask: Ask) -> torch.Tensor:
    """Corners of each token's box on the page, as whole numbers, or as numbers from 0 to 1 where images are read."""
    corners = torch.tensor([0.0, 0.0, 0.5, 0.5]) if ask.takes("visual_bbox") else torch.tensor([1, 2, 3, 4])
    return corners.expand(ask.batch, text(ask).shape[-1], 4).contiguous()


@makes("entity_ids", "entity_token_type_ids")
def entities(ask: Ask) -> torch.Tensor:
    choices = _choices(ask)
    shape = (ask.batch, choices, 2) if choices else (ask.batch, 2)
    return torch.ones(shape, dtype=torch.long)


@makes("entity_attention_mask")
def entity_mask(ask: Ask) -> torch.Tensor:
    return torch.ones_like(entities(ask))


@makes("entity_position_ids")
def entity_positions(ask: Ask) -> torch.Tensor:
    """Which tokens name each entity; -1 fills up."""
    length = ask.dim("max_mention_length", default=30)
    ids = torch.full((*entities(ask).shape, length), -1)
    ids[..., 0] = 1
    return ids


@makes("xpath_tags_seq", "xpath_subs_seq")
def paths(ask: Ask) -> torch.Tensor:
    return torch.ones(ask.batch, text(ask).shape[-1], ask.dim("max_depth", default=50), dtype=torch.long)


@makes("encoder_hidden_states", "context_hidden_states")
def context(ask: Ask) -> torch.Tensor:
    width = ask.dim("cross_attention_hidden_size", "encoder_hidden_size", "encoder_dim", default=0) or ask.hidden
    return floats(ask.batch, WORDS, width)


@makes("inputs_embeds")
def embeds(ask: Ask) -> torch.Tensor:
    width = ask.dim("embedding_size", "input_embedding_size", default=0) or ask.hidden
    return floats(ask.batch, WORDS, width)


@makes("encoder_attention_mask")
def context_mask(ask: Ask) -> torch.Tensor:
    return torch.ones(ask.batch, WORDS, dtype=torch.long)


@makes("visual_embeds")
def visual(ask: Ask) -> torch.Tensor:
    return floats(ask.batch, 8, ask.dim("visual_embedding_dim", default=0) or ask.hidden)


@makes("visual_feats")
def visual_feats(ask: Ask) -> torch.Tensor:
    return floats(ask.batch, 8, ask.dim("visual_feat_dim", default=2048))


@makes("visual_pos")
def visual_positions(ask: Ask) -> torch.Tensor:
    return floats(ask.batch, 8, ask.dim("visual_pos_dim", default=4))
