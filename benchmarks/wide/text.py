"""Architectures of transformers on text, sound, series and pictures, with small configurations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from .architecture import BATCH, Architecture

SMALL: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 32,
    "d_model": 32,
    "dim": 32,
    "n_embd": 32,
    "emb_dim": 32,
    "embedding_size": 32,
    "word_embed_proj_dim": 32,
    "num_hidden_layers": 2,
    "n_layers": 2,
    "n_layer": 2,
    "num_layers": 2,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "num_decoder_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "n_heads": 4,
    "n_head": 4,
    "num_heads": 4,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "intermediate_size": 48,
    "ffn_dim": 48,
    "n_inner": 48,
    "d_ff": 48,
    "d_kv": 8,
    "d_inner": 48,
    "d_head": 8,
    "head_dim": 8,
    "hidden_dim": 48,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
    "n_positions": 64,
    "image_size": 64,
    "patch_size": 16,
    "num_labels": 5,
    "use_cache": False,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
"""What a configuration is given, where it has an attribute of that name."""

Row = tuple[str, str, str, dict[str, Any]]
TEXT: list[Row] = [
    # model class, configuration class, inputs, what this one needs besides
    ("BertForSequenceClassification", "BertConfig", "text", {}),
    ("BertForMaskedLM", "BertConfig", "text", {}),
    ("DistilBertForQuestionAnswering", "DistilBertConfig", "text", {}),
    ("RobertaForTokenClassification", "RobertaConfig", "text", {"pad_token_id": 1}),
    ("XLMRobertaForSequenceClassification", "XLMRobertaConfig", "text", {"pad_token_id": 1}),
    ("AlbertForSequenceClassification", "AlbertConfig", "text", {"embedding_size": 16}),
    ("ElectraForSequenceClassification", "ElectraConfig", "text", {"embedding_size": 16}),
    ("MobileBertForSequenceClassification", "MobileBertConfig", "text", {"true_hidden_size": 16,
     "intra_bottleneck_size": 16, "embedding_size": 16}),
    ("SqueezeBertForSequenceClassification", "SqueezeBertConfig", "text", {}),
    ("DebertaV2ForSequenceClassification", "DebertaV2Config", "text", {"relative_attention": True,
     "pos_att_type": ["p2c", "c2p"]}),
    ("DebertaForSequenceClassification", "DebertaConfig", "text", {}),
    ("MPNetForSequenceClassification", "MPNetConfig", "text", {"pad_token_id": 1}),
    ("CamembertForTokenClassification", "CamembertConfig", "text", {"pad_token_id": 1}),
    ("ErnieForSequenceClassification", "ErnieConfig", "text", {}),
    ("FNetForSequenceClassification", "FNetConfig", "ids", {"use_tpu_fourier_optimizations": False}),
    ("FunnelForSequenceClassification", "FunnelConfig", "text", {"block_sizes": [1, 1], "num_decoder_layers": 1}),
    ("LongformerForSequenceClassification", "LongformerConfig", "text", {"attention_window": 4}),
    ("BigBirdForSequenceClassification", "BigBirdConfig", "text", {"attention_type": "original_full"}),
    ("NystromformerForSequenceClassification", "NystromformerConfig", "text", {"segment_means_seq_len": 16,
     "num_landmarks": 4}),
    ("RoFormerForSequenceClassification", "RoFormerConfig", "text", {"embedding_size": 32}),
    ("ConvBertForSequenceClassification", "ConvBertConfig", "text", {"embedding_size": 32, "conv_kernel_size": 3}),
    ("RemBertForSequenceClassification", "RemBertConfig", "text", {"input_embedding_size": 16,
     "output_embedding_size": 32}),
    ("MegatronBertForSequenceClassification", "MegatronBertConfig", "text", {}),
    ("IBertForSequenceClassification", "IBertConfig", "text", {"pad_token_id": 1}),
    ("ModernBertForSequenceClassification", "ModernBertConfig", "text", {"reference_compile": False}),
    ("XLNetForSequenceClassification", "XLNetConfig", "text", {}),
    ("XLMForSequenceClassification", "XLMConfig", "text", {}),
    ("FlaubertForSequenceClassification", "FlaubertConfig", "text", {}),
    ("LayoutLMForTokenClassification", "LayoutLMConfig", "text", {}),
    ("SplinterForQuestionAnswering", "SplinterConfig", "text", {}),
    ("CanineForSequenceClassification", "CanineConfig", "text", {"num_hash_buckets": 64, "num_hash_functions": 4,
     "downsampling_rate": 4, "upsampling_kernel_size": 4, "local_transformer_stride": 16}),
    ("NezhaForSequenceClassification", "NezhaConfig", "text", {}),
    ("YosoForSequenceClassification", "YosoConfig", "text", {"use_expectation": True}),
    ("GPT2LMHeadModel", "GPT2Config", "text", {}),
    ("OpenAIGPTLMHeadModel", "OpenAIGPTConfig", "text", {}),
    ("GPTNeoForCausalLM", "GPTNeoConfig", "text", {"attention_types": [[["global", "local"], 1]]}),
    ("GPTNeoXForCausalLM", "GPTNeoXConfig", "text", {}),
    ("GPTJForCausalLM", "GPTJConfig", "text", {"rotary_dim": 4}),
    ("CodeGenForCausalLM", "CodeGenConfig", "text", {"rotary_dim": 4}),
    ("OPTForCausalLM", "OPTConfig", "text", {}),
    ("BloomForCausalLM", "BloomConfig", "text", {}),
    ("FalconForCausalLM", "FalconConfig", "text", {}),
    ("LlamaForCausalLM", "LlamaConfig", "text", {}),
    ("MistralForCausalLM", "MistralConfig", "text", {}),
    ("Qwen2ForCausalLM", "Qwen2Config", "text", {}),
    ("Qwen3ForCausalLM", "Qwen3Config", "text", {}),
    ("GemmaForCausalLM", "GemmaConfig", "text", {}),
    ("Gemma2ForCausalLM", "Gemma2Config", "text", {}),
    ("PhiForCausalLM", "PhiConfig", "text", {}),
    ("Phi3ForCausalLM", "Phi3Config", "text", {}),
    ("StableLmForCausalLM", "StableLmConfig", "text", {}),
    ("Olmo2ForCausalLM", "Olmo2Config", "text", {}),
    ("GraniteForCausalLM", "GraniteConfig", "text", {}),
    ("CohereForCausalLM", "CohereConfig", "text", {}),
    ("SmolLM3ForCausalLM", "SmolLM3Config", "text", {}),
    ("MixtralForCausalLM", "MixtralConfig", "text", {"num_local_experts": 2}),
    ("MambaForCausalLM", "MambaConfig", "ids", {"state_size": 4, "expand": 2}),
    ("BioGptForCausalLM", "BioGptConfig", "text", {}),
    ("XGLMForCausalLM", "XGLMConfig", "text", {"attention_heads": 4}),
    ("T5EncoderModel", "T5Config", "text", {}),
    ("MT5EncoderModel", "MT5Config", "text", {}),
    ("BartForSequenceClassification", "BartConfig", "text", {}),
    ("T5ForConditionalGeneration", "T5Config", "both", {}),
    ("MarianMTModel", "MarianConfig", "both", {}),
    ("PegasusForConditionalGeneration", "PegasusConfig", "both", {}),
    ("LEDForConditionalGeneration", "LEDConfig", "both", {"attention_window": 4}),
    ("M2M100ForConditionalGeneration", "M2M100Config", "both", {}),
    ("ProphetNetForConditionalGeneration", "ProphetNetConfig", "both", {"num_encoder_layers": 2,
     "num_encoder_attention_heads": 4, "num_decoder_attention_heads": 4}),
    ("CLIPTextModelWithProjection", "CLIPTextConfig", "text", {"projection_dim": 16, "eos_token_id": 99}),
]  # fmt: skip
DPT = {"num_hidden_layers": 4, "backbone_out_indices": [0, 1, 2, 3], "neck_hidden_sizes": [8, 8, 16, 16],
       "fusion_hidden_size": 8, "is_hybrid": False}  # fmt: skip
PICTURES: list[Row] = [
    ("ViTForImageClassification", "ViTConfig", "picture", {}),
    ("DeiTForImageClassificationWithTeacher", "DeiTConfig", "picture", {}),
    ("BeitForImageClassification", "BeitConfig", "picture", {"use_relative_position_bias": True}),
    ("Data2VecVisionForImageClassification", "Data2VecVisionConfig", "picture", {}),
    ("SwinForImageClassification", "SwinConfig", "picture", {"patch_size": 4, "embed_dim": 16, "depths": [1, 2],
     "num_heads": [2, 4], "window_size": 4}),
    ("Swinv2ForImageClassification", "Swinv2Config", "picture", {"patch_size": 4, "embed_dim": 16, "depths": [1, 2],
     "num_heads": [2, 4], "window_size": 4}),
    ("ConvNextForImageClassification", "ConvNextConfig", "picture", {"patch_size": 4, "hidden_sizes": [8, 16, 24, 32],
     "depths": [1, 1, 2, 1]}),
    ("ConvNextV2ForImageClassification", "ConvNextV2Config", "picture", {"patch_size": 4,
     "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}),
    ("CvtForImageClassification", "CvtConfig", "picture", {"patch_sizes": [7, 3, 3], "embed_dim": [16, 32, 48],
     "num_heads": [1, 2, 4], "depth": [1, 1, 2]}),
    ("SegformerForSemanticSegmentation", "SegformerConfig", "picture", {"hidden_sizes": [8, 16, 24, 32],
     "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 3, 4], "decoder_hidden_size": 16}),
    ("SegformerForImageClassification", "SegformerConfig", "picture", {"hidden_sizes": [8, 16, 24, 32],
     "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 3, 4]}),
    ("PvtForImageClassification", "PvtConfig", "picture", {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1],
     "num_attention_heads": [1, 2, 3, 4], "patch_sizes": [4, 2, 2, 2]}),
    ("PvtV2ForImageClassification", "PvtV2Config", "picture", {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1],
     "num_attention_heads": [1, 2, 3, 4]}),
    ("PoolFormerForImageClassification", "PoolFormerConfig", "picture", {"hidden_sizes": [8, 16, 24, 32],
     "depths": [1, 1, 1, 1], "patch_size": 7}),
    ("RegNetForImageClassification", "RegNetConfig", "picture", {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32],
     "depths": [1, 1, 1, 1], "groups_width": 4}),
    ("ResNetForImageClassification", "ResNetConfig", "picture", {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32],
     "depths": [1, 1, 1, 1]}),
    ("MobileNetV1ForImageClassification", "MobileNetV1Config", "picture", {"depth_multiplier": 0.25}),
    ("MobileNetV2ForImageClassification", "MobileNetV2Config", "picture", {"depth_multiplier": 0.35}),
    ("MobileNetV2ForSemanticSegmentation", "MobileNetV2Config", "picture", {"depth_multiplier": 0.35}),
    ("MobileViTForImageClassification", "MobileViTConfig", "picture", {"patch_size": 2, "hidden_sizes": [16, 24, 32],
     "neck_hidden_sizes": [8, 8, 16, 16, 24, 32, 64]}),
    ("MobileViTV2ForImageClassification", "MobileViTV2Config", "picture", {"patch_size": 2, "width_multiplier": 0.5}),
    ("EfficientNetForImageClassification", "EfficientNetConfig", "picture", {"width_coefficient": 0.25,
     "depth_coefficient": 0.5, "hidden_dim": 320}),
    ("LevitForImageClassification", "LevitConfig", "picture", {"image_size": 64, "hidden_sizes": [32, 48, 64],
     "num_attention_heads": [2, 3, 4], "depths": [1, 1, 1], "key_dim": [8, 8, 8], "patch_size": 16}),
    ("Dinov2ForImageClassification", "Dinov2Config", "picture", {}),
    ("Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersConfig", "picture", {}),
    ("DINOv3ViTModel", "DINOv3ViTConfig", "picture", {}),
    ("FocalNetForImageClassification", "FocalNetConfig", "picture", {"patch_size": 4, "embed_dim": 16,
     "depths": [1, 1], "focal_levels": [2, 2], "focal_windows": [3, 3], "hidden_sizes": [16, 32]}),
    ("BitForImageClassification", "BitConfig", "picture", {"embedding_size": 32, "hidden_sizes": [32, 32, 64, 64],
     "depths": [1, 1, 1, 1], "num_groups": 8}),
    ("SwiftFormerForImageClassification", "SwiftFormerConfig", "picture", {"depths": [1, 1, 1, 1],
     "embed_dims": [16, 24, 32, 48]}),
    ("HieraForImageClassification", "HieraConfig", "picture", {"image_size": [64, 64], "patch_size": [7, 7],
     "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8]}),
    ("ViTMSNForImageClassification", "ViTMSNConfig", "picture", {}),
    ("IJepaForImageClassification", "IJepaConfig", "picture", {}),
    ("YolosForObjectDetection", "YolosConfig", "picture", {"image_size": [64, 64], "num_detection_tokens": 6}),
    ("DPTForSemanticSegmentation", "DPTConfig", "picture", DPT),
    ("DPTForDepthEstimation", "DPTConfig", "picture", DPT),
    ("GLPNForDepthEstimation", "GLPNConfig", "picture", {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1],
     "num_attention_heads": [1, 2, 3, 4], "decoder_hidden_size": 16}),
    ("Swin2SRForImageSuperResolution", "Swin2SRConfig", "picture", {"patch_size": 1, "image_size": 16, "embed_dim": 16,
     "depths": [1, 1], "num_heads": [2, 2], "window_size": 4, "upscale": 2}),
    ("CLIPVisionModelWithProjection", "CLIPVisionConfig", "picture", {"projection_dim": 16}),
    ("SiglipVisionModel", "SiglipVisionConfig", "picture", {}),
    ("BlipVisionModel", "BlipVisionConfig", "picture", {}),
    ("ChineseCLIPVisionModel", "ChineseCLIPVisionConfig", "picture", {}),
    ("AltCLIPVisionModel", "AltCLIPVisionConfig", "picture", {}),
    ("GroupViTVisionModel", "GroupViTVisionConfig", "picture", {"depths": [1, 1, 1], "num_group_tokens": [8, 4, 0],
     "num_output_groups": [8, 4, 0]}),
    ("VideoMAEForVideoClassification", "VideoMAEConfig", "video", {"num_frames": 4, "image_size": 32,
     "patch_size": 8}),
    ("VivitForVideoClassification", "VivitConfig", "video", {"num_frames": 4, "image_size": 32,
     "tubelet_size": [2, 8, 8]}),
    ("TimesformerForVideoClassification", "TimesformerConfig", "video", {"num_frames": 4, "image_size": 32,
     "patch_size": 8}),
    ("ASTForAudioClassification", "ASTConfig", "spectrum", {"max_length": 64, "num_mel_bins": 32}),
    ("Wav2Vec2ForSequenceClassification", "Wav2Vec2Config", "sound", {}),
    ("HubertForCTC", "HubertConfig", "sound", {}),
    ("WavLMForSequenceClassification", "WavLMConfig", "sound", {}),
    ("SEWForCTC", "SEWConfig", "sound", {"squeeze_factor": 1}),
    ("UniSpeechForSequenceClassification", "UniSpeechConfig", "sound", {}),
    ("Data2VecAudioForCTC", "Data2VecAudioConfig", "sound", {}),
    ("Wav2Vec2ConformerForCTC", "Wav2Vec2ConformerConfig", "sound", {}),
    ("WhisperForAudioClassification", "WhisperConfig", "mel", {"num_mel_bins": 16, "max_source_positions": 32}),
    ("PatchTSTForPrediction", "PatchTSTConfig", "series", {"num_input_channels": 3, "context_length": 32,
     "patch_length": 8, "patch_stride": 8, "prediction_length": 6}),
    ("PatchTSMixerForPrediction", "PatchTSMixerConfig", "series", {"num_input_channels": 3, "context_length": 32,
     "patch_length": 8, "patch_stride": 8, "prediction_length": 6, "d_model": 16}),
]  # fmt: skip
SOUND = {"conv_dim": [16, 16, 32], "conv_stride": [5, 2, 2], "conv_kernel": [10, 3, 2], "num_feat_extract_layers": 3,
         "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4, "classifier_proj_size": 16,
         "conv_depthwise_kernel_size": 7, "feat_extract_norm": "layer"}  # fmt: skip
LENGTH = 16


def architectures() -> Iterator[Architecture]:
    """All of them, from either table in turn."""
    mixed = itertools.chain.from_iterable(itertools.zip_longest(PICTURES, TEXT))
    for model, config, kind, more in filter(None, mixed):
        yield Architecture("transformers", model, _maker(model, config, kind, more))


def _maker(model: str, config: str, kind: str, more: dict[str, Any]) -> Any:
    def make() -> tuple[Any, dict[str, Any]]:
        import transformers

        given = {**SMALL, **(SOUND if kind == "sound" else {})}
        known = getattr(transformers, config)()
        chosen = getattr(transformers, config)(**{k: v for k, v in given.items() if _has(known, k)} | more)
        chosen.return_dict = True
        return getattr(transformers, model)(chosen), _inputs(kind, chosen)

    return make


def _has(config: Any, name: str) -> bool:
    value = getattr(config, name, None)
    return hasattr(config, name) and not (isinstance(value, (list, tuple)) and not name.startswith("conv_"))


def _inputs(kind: str, config: Any) -> dict[str, Any]:
    import torch

    ids = torch.randint(3, 90, (BATCH, LENGTH))
    text = {"input_ids": ids, "attention_mask": torch.ones(BATCH, LENGTH, dtype=torch.int64)}
    if kind == "ids":
        return {"input_ids": ids}
    if kind == "text":
        return text
    if kind == "both":
        return {**text, "decoder_input_ids": torch.randint(3, 90, (BATCH, 8))}
    if kind == "sound":
        return {"input_values": torch.randn(BATCH, 800)}
    if kind == "spectrum":
        return {"input_values": torch.randn(BATCH, config.max_length, config.num_mel_bins)}
    if kind == "mel":
        return {"input_features": torch.randn(BATCH, config.num_mel_bins, 2 * config.max_source_positions)}
    if kind == "series":
        return {"past_values": torch.randn(BATCH, config.context_length, config.num_input_channels)}
    size = getattr(config, "image_size", 64)
    sides = list(size) if isinstance(size, (list, tuple)) else [size, size]
    frames = [config.num_frames] if kind == "video" else []
    return {"pixel_values": torch.randn(BATCH, *frames, 3, *sides)}
