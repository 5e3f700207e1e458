"""Small configs of well known architectures, and the parts of their fused matrices."""

from __future__ import annotations

from typing import Any

Q, K, V, GATE, UP = "query", "key", "value", "gate", "up"
Parts = dict[str, tuple[int, list[tuple[int, str]]]]  # by name: repeats, and (rows, purpose) of each part

NO_TOKENS: dict[str, Any] = {"vocab_size": 96, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
LLAMA = dict(
    hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48, max_position_embeddings=64,
    **NO_TOKENS,
)  # fmt: skip
GPT = dict(n_embd=32, n_layer=1, n_head=4, n_positions=64, **NO_TOKENS)
FALCON = dict(hidden_size=64, num_hidden_layers=1, num_attention_heads=8, **NO_TOKENS)
MIXED = {
    **LLAMA, "num_hidden_layers": 2, "num_key_value_heads": 2, "head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"], "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    "linear_key_head_dim": 6, "linear_value_head_dim": 10,
}  # fmt: skip
EXPERTS = {"num_experts_per_tok": 2, "num_key_value_heads": 2}

ARCHITECTURES: dict[str, tuple[str, dict[str, Any], Parts]] = {
    "GPT-2, weights stored (in, out)": (
        "GPT2", GPT, {"h.0.attn.c_attn.weight": (1, [(32, Q), (32, K), (32, V)])},
    ),
    "Falcon, one key and value for all": (
        "Falcon", dict(FALCON, multi_query=True, new_decoder_architecture=False),
        {"h.0.self_attention.query_key_value.weight": (1, [(64, Q), (8, K), (8, V)])},
    ),
    "Falcon, groups of queries": (
        "Falcon", dict(FALCON, num_kv_heads=2, new_decoder_architecture=True),
        {"h.0.self_attention.query_key_value.weight": (2, [(64, Q), (16, K), (16, V)])},
    ),
    "Falcon, by heads": (
        "Falcon", dict(FALCON, multi_query=False, alibi=True, parallel_attn=False, new_decoder_architecture=False),
        {"h.0.self_attention.query_key_value.weight": (8, [(64, Q), (64, K), (64, V)])},
    ),
    "BLOOM": (
        "Bloom", dict(hidden_size=32, n_layer=1, n_head=4, **NO_TOKENS),
        {"h.0.self_attention.query_key_value.weight": (4, [(32, Q), (32, K), (32, V)])},
    ),
    "Phi-3": (
        "Phi3", dict(LLAMA, num_key_value_heads=2),
        {
            "layers.0.self_attn.qkv_proj.weight": (1, [(32, Q), (16, K), (16, V)]),
            "layers.0.mlp.gate_up_proj.weight": (1, [(48, GATE), (48, UP)]),
        },
    ),
    "GPT-NeoX": (
        "GPTNeoX", LLAMA, {"layers.0.attention.query_key_value.weight": (4, [(32, Q), (32, K), (32, V)])},
    ),
    "CodeGen": (
        "CodeGen", dict(GPT, n_head=8, rotary_dim=2),
        {"h.0.attn.qkv_proj.weight": (4, [(32, Q), (32, V), (32, K)])},
    ),
    "StarCoder": (
        "GPTBigCode", GPT, {"h.0.attn.c_attn.weight": (1, [(32, Q), (8, K), (8, V)])},
    ),
    "MPT": (
        "Mpt", dict(d_model=32, n_heads=4, n_layers=1, max_seq_len=64, **NO_TOKENS),
        {"blocks.0.attn.Wqkv.weight": (1, [(32, Q), (32, K), (32, V)])},
    ),
    "ModernBERT": (
        "ModernBert", LLAMA,
        {
            "layers.0.attn.Wqkv.weight": (1, [(32, Q), (32, K), (32, V)]),
            "layers.0.mlp.Wi.weight": (1, [(48, GATE), (48, UP)]),
        },
    ),
    "Mamba": (
        "Mamba", dict(hidden_size=32, num_hidden_layers=1, state_size=4, time_step_rank=3, **NO_TOKENS),
        {
            "layers.0.mixer.in_proj.weight": (1, [(64, ""), (64, GATE)]),
            "layers.0.mixer.x_proj.weight": (1, [(3, ""), (4, ""), (4, "")]),
        },
    ),
    "Mamba-2, split again after its filter": (
        "Mamba2",
        dict(hidden_size=32, num_hidden_layers=1, state_size=6, head_dim=8, num_heads=8, n_groups=2, chunk_size=4,
             **NO_TOKENS),
        {"layers.0.mixer.in_proj.weight": (1, [(64, GATE), (64, ""), (12, ""), (12, ""), (8, "step")])},
    ),
    "Qwen3-Next": (
        "Qwen3Next",
        dict(MIXED, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16,
             shared_expert_intermediate_size=16),
        {
            "layers.0.linear_attn.in_proj_qkvz.weight": (2, [(12, ""), (12, ""), (40, ""), (40, GATE)]),
            "layers.0.linear_attn.in_proj_ba.weight": (2, [(4, GATE), (4, "step")]),
            "layers.0.mlp.experts.gate_up_proj": (1, [(16, GATE), (16, UP)]),
            "layers.1.self_attn.q_proj.weight": (4, [(32, Q), (32, GATE)]),
            "layers.1.mlp.experts.gate_up_proj": (1, [(16, GATE), (16, UP)]),
        },
    ),
    "Qwen3.5": (
        "Qwen3_5Text", MIXED,
        {
            "layers.0.linear_attn.in_proj_qkv.weight": (1, [(12, ""), (12, ""), (40, "")]),
            "layers.1.self_attn.q_proj.weight": (4, [(32, Q), (32, GATE)]),
        },
    ),
    "DeepSeek: latent keys and values": (
        "DeepseekV3",
        dict(LLAMA, kv_lora_rank=10, q_lora_rank=12, qk_rope_head_dim=4, qk_nope_head_dim=6, v_head_dim=8,
             first_k_dense_replace=1),
        {
            "layers.0.self_attn.kv_a_proj_with_mqa.weight": (1, [(10, ""), (4, K)]),
            "layers.0.self_attn.kv_b_proj.weight": (4, [(24, K), (32, V)]),
        },
    ),
    "gpt-oss: stored (in, out), gate and up take turns": (
        "GptOss", dict(LLAMA, **EXPERTS, head_dim=8, num_local_experts=4),
        {"layers.0.mlp.experts.gate_up_proj": (48, [(48, GATE), (48, UP)])},
    ),
    "Mixtral: a stack of experts": (
        "Mixtral", dict(LLAMA, **EXPERTS, num_local_experts=4),
        {"layers.0.mlp.experts.gate_up_proj": (1, [(48, GATE), (48, UP)])},
    ),
    "GLM": (
        "Glm", dict(LLAMA, num_key_value_heads=2, head_dim=8),
        {"layers.0.mlp.gate_up_proj.weight": (1, [(48, GATE), (48, UP)])},
    ),
    "LLaMA has none": ("Llama", dict(LLAMA, num_key_value_heads=2), {}),
    "GPT-J has none": ("GPTJ", dict(GPT, rotary_dim=4), {}),
    "BERT has none": ("Bert", LLAMA, {}),
    "XLNet has none": ("XLNet", dict(d_model=32, n_layer=1, n_head=4, d_inner=48, **NO_TOKENS), {}),
}  # fmt: skip
