"""A decoder as an architecture of the library transformers: its config, its weights by name."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from trainwright.nn.gpt.block import Activation
from trainwright.nn.gpt.pointwise import EPSILON

_OF_ALL = {
    "embedding.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_OF_A_BLOCK = {
    "norm.weight": "input_layernorm.weight",
    "feed_norm.weight": "post_attention_layernorm.weight",
    "attention.queries.weight": "self_attn.q_proj.weight",
    "attention.keys.weight": "self_attn.k_proj.weight",
    "attention.values.weight": "self_attn.v_proj.weight",
    "attention.out.weight": "self_attn.o_proj.weight",
    "feed.gate.weight": "mlp.gate_proj.weight",
    "feed.up.weight": "mlp.up_proj.weight",
    "feed.down.weight": "mlp.down_proj.weight",
}


def pretrained(
    state: Mapping[str, Tensor],
    sizes: Mapping[str, int],
    *,
    activation: Activation,
    qk_norm: bool,
    rotary_base: float,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """`config.json` as plain JSON types, and the tensors of `model.safetensors`.

    `state`: that of a GPT; `sizes`: what the config says besides. It is a Llama, with QK norm a
    Qwen3; ReLU² is their gated layer with both matrices alike, for relu(x) * x = relu(x)². Without
    a gate GELU is an Arcee's. Raises ValueError for what no architecture there has.
    """
    if activation == "gelu" and qk_norm:
        raise ValueError(
            "model.activation=gelu with model.qk_norm=true is no architecture of transformers\n"
            "  it has each by itself; train with qk_norm=false, or with another activation"
        )
    kind = "Arcee" if activation == "gelu" else "Qwen3" if qk_norm else "Llama"
    config = {
        "architectures": [f"{kind}ForCausalLM"],
        "model_type": kind.lower(),
        **sizes,
        "hidden_act": {"swiglu": "silu", "relu2": "relu", "gelu": "gelu"}[activation],
        "rms_norm_eps": EPSILON,
        "rope_theta": rotary_base,  # where version 4 looks for it
        "rope_parameters": {"rope_type": "default", "rope_theta": rotary_base},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": "output.weight" not in state,
        "bos_token_id": None,
        "dtype": "float32",
    }
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name in _OF_ALL:
            tensors[_OF_ALL[name]] = tensor
            continue
        _, number, part = name.split(".", 2)
        layer = f"model.layers.{number}."
        tensors[layer + _OF_A_BLOCK[part]] = tensor
        if part == "feed.up.weight" and activation == "relu2":
            tensors[f"{layer}mlp.gate_proj.weight"] = tensor
        if part == "attention.queries.weight" and qk_norm:
            gain = tensor.new_ones(sizes["head_dim"])
            tensors |= {f"{layer}self_attn.{one}_norm.weight": gain for one in "qk"}
    return config, {name: t.detach().float().cpu().clone() for name, t in tensors.items()}
