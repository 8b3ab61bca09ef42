"""What the rules of shrink.py don't know, by class of config."""

from typing import Any

ROPE = {"rope_type": "default", "rope_theta": 10000.0}

OVERRIDES: dict[str, dict[str, Any]] = {
    # Experts are off by default, or every choice is one of a kind.
    "Gemma4TextConfig": {"enable_moe_block": True, "global_head_dim": 16},
    "DogeConfig": {"is_moe": True, "num_experts": 16},  # a square
    "Llama4TextConfig": {"num_experts_per_tok": 1, "interleave_moe_layer_step": 2},
    "ZayaConfig": {"num_experts_per_tok": 1},
    "DeepseekV2Config": {"topk_method": "group_limited_greedy"},
    "GraniteMoeSWAConfig": {"shared_intermediate_size": 32},
    "GraniteMoeSharedConfig": {"shared_intermediate_size": 32},
    "LongcatFlashConfig": {"zero_expert_num": 4},
    # Which layers are of which kind.
    "DeepseekOcr2TextConfig": {"mlp_layer_types": ["dense", "sparse", "sparse"]},
    "GraniteMoeHybridConfig": {
        "layer_types": ["linear_attention", "full_attention", "linear_attention"]
    },
    "Inkling2LoopTextConfig": {
        "n_layers_per_attn_res_block": 1,
        "loop_layer_index_start": 1,
        "loop_layer_index_end": 2,
        "loop_num_passes": 2,
    },
    "JambaConfig": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_offset": 0},
    "Lfm2MoeConfig": {"layer_types": ["conv", "full_attention", "conv"]},
    "NllbMoeConfig": {"encoder_sparse_step": 2, "decoder_sparse_step": 2},
    "SwitchTransformersConfig": {
        "num_decoder_layers": 3,
        "num_sparse_encoder_layers": 1,
        "num_sparse_decoder_layers": 1,
    },
    # Dimensions that depend on each other.
    "DiffusionGemmaTextConfig": {"global_head_dim": 16},
    "Dots3NoteTextConfig": {
        "swa_num_attention_heads": 4,
        "swa_num_key_value_heads": 4,
        "swa_q_lora_rank": 8,
        "swa_kv_lora_rank": 8,
        "swa_head_dim": 32,
        "swa_qk_nope_head_dim": 16,
        "swa_v_head_dim": 16,
    },
    "Ernie4_5_VLMoeTextConfig": {
        "moe_intermediate_size": [16, 16],
        "num_attention_heads": 2,
        "rope_parameters": {**ROPE, "mrope_section": [3, 3, 2]},
    },
    "Glm4vMoeTextConfig": {
        "head_dim": 32,
        "rope_parameters": {**ROPE, "partial_rotary_factor": 0.5, "mrope_section": [2, 3, 3]},
    },
    "HYV4VLTextConfig": {"rope_parameters": {**ROPE, "mrope_section": [2, 3, 3]}},
    "HunYuanMoEV1Config": {"head_dim": 16},
    "Qwen4ExpTextConfig": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 16,
        "indexer_compress_ratio": 4,
    },
    # Parts for images and sound, kept small and never used.
    "DeepseekOcr2SamVisionConfig": {"downsample_channels": [32, 32]},
    "UnlimitedOcrSamVisionConfig": {"downsample_channels": [32, 32]},
    "MuseSparkAudioConfig": {
        "num_hidden_layers": 2,
        "patch_sizes": [4, 4],
        "hidden_sizes": [8, 8],
        "depths": [1, 1],
    },
    "RadioConfig": {"video_temporal_patch_size": 2, "max_img_size": 32},
    # What the model asks for and the config lacks.
    "DbrxAttentionConfig": {"rope_theta": 10000.0, "clip_qkv": 8.0},
    "Qwen3OmniMoeThinkerConfig": {"vision_start_token_id": 383},
    "Step3p7TextConfig": {"sliding_window": 128},
}
