"""Architectures of torchvision and timm, in small variants on small images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .architecture import BATCH, Architecture

Row = tuple[str, int, dict[str, Any]]
TORCHVISION: list[Row] = [
    # name, image size, arguments
    ("alexnet", 224, {}),
    ("vgg11", 224, {}),
    ("vgg11_bn", 224, {}),
    ("resnet18", 64, {}),
    ("resnext50_32x4d", 64, {}),
    ("squeezenet1_1", 64, {}),
    ("densenet121", 64, {}),
    ("googlenet", 64, {"aux_logits": False, "init_weights": False}),
    ("inception_v3", 96, {"aux_logits": False, "init_weights": False}),
    ("mobilenet_v2", 64, {}),
    ("mobilenet_v3_small", 64, {}),
    ("mnasnet0_5", 64, {}),
    ("shufflenet_v2_x0_5", 64, {}),
    ("efficientnet_b0", 64, {}),
    ("efficientnet_v2_s", 64, {}),
    ("regnet_x_400mf", 64, {}),
    ("regnet_y_400mf", 64, {}),
    ("convnext_tiny", 64, {}),
    ("maxvit_t", 224, {}),
    ("swin_t", 64, {"embed_dim": 24, "depths": [1, 1, 2, 1]}),
    ("swin_v2_t", 64, {"embed_dim": 24, "depths": [1, 1, 2, 1]}),
    ("vit_b_32", 224, {"num_layers": 2, "hidden_dim": 96, "mlp_dim": 192}),
    ("lraspp_mobilenet_v3_large", 64, {"weights_backbone": None}),
    ("deeplabv3_mobilenet_v3_large", 64, {"weights_backbone": None}),
    ("fcn_resnet50", 64, {"weights_backbone": None}),
    ("r3d_18", 32, {}),
    ("mc3_18", 32, {}),
    ("r2plus1d_18", 32, {}),
    ("ssdlite320_mobilenet_v3_large", 320, {"weights_backbone": None}),
    ("fasterrcnn_mobilenet_v3_large_320_fpn", 160, {"weights_backbone": None}),
    ("raft_small", 128, {}),
]
VIDEO = ("r3d_18", "mc3_18", "r2plus1d_18")
DETECTION = ("ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn")
WIDE_HEADS = ("alexnet", "vgg11", "vgg11_bn")
TIMM: list[Row] = [
    ("beit_base_patch16_224", 64, {"depth": 2, "embed_dim": 96, "num_heads": 4}),
    ("botnet26t_256", 256, {}),
    ("halonet26t", 256, {}),
    ("eca_resnet33ts", 64, {}),
    ("test_byobnet", 64, {}),
    ("repvgg_a0", 64, {}),
    ("gernet_s", 64, {}),
    ("mobileone_s0", 64, {}),
    ("cait_xxs24_224", 64, {"depth": 2}),
    ("coat_lite_tiny", 64, {}),
    ("coat_tiny", 64, {}),
    ("convit_tiny", 64, {"depth": 3, "local_up_to_layer": 2}),
    ("convmixer_768_32", 64, {}),
    ("test_convnext", 64, {}),
    ("convnext_atto_rms", 64, {}),
    ("convnextv2_atto", 64, {}),
    ("cpubone_b0_bfrobust", 64, {}),
    ("crossvit_9_240", 240, {"embed_dim": [32, 64], "num_heads": [2, 2]}),
    ("csatv2", 256, {}),
    ("cs3darknet_focus_s", 64, {}),
    ("cspresnet50", 64, {}),
    ("cspnext_tiny", 64, {}),
    ("davit_tiny", 64, {"depths": (1, 1, 1, 1), "embed_dims": (16, 32, 48, 64), "num_heads": (1, 2, 3, 4)}),
    ("deit3_small_patch16_224", 64, {"depth": 2, "embed_dim": 96, "num_heads": 4}),
    ("deit_tiny_distilled_patch16_224", 64, {"depth": 2}),
    ("densenet121", 64, {}),
    ("dla34", 64, {}),
    ("dpn48b", 64, {}),
    ("edgenext_xx_small", 64, {}),
    ("efficientformer_l1", 224, {}),
    ("efficientformerv2_s0", 224, {}),
    ("test_efficientnet", 64, {}),
    ("test_efficientnet_gn", 64, {}),
    ("efficientnet_lite0", 64, {}),
    ("mixnet_s", 64, {}),
    ("tinynet_e", 64, {}),
    ("efficientvim_m1", 224, {}),
    ("efficientvit_b0", 64, {}),
    ("efficientvit_m0", 224, {}),
    ("eva02_tiny_patch14_224", 56, {"depth": 2}),
    ("vit_small_patch16_rope_224", 64, {"depth": 2}),
    ("fasternet_t0", 64, {}),
    ("fastvit_t8", 64, {}),
    ("focalnet_tiny_srf", 64, {"depths": (1, 1, 1, 1), "embed_dim": 24}),
    ("gcvit_xxtiny", 224, {}),
    ("ghostnet_050", 64, {}),
    ("ghostnetv2_100", 64, {}),
    ("hardcorenas_a", 64, {}),
    ("hgnetv2_b0", 64, {}),
    ("hiera_tiny_224", 224, {"embed_dim": 24, "stages": (1, 1, 2, 1)}),
    ("sam2_hiera_tiny", 224, {"embed_dim": 24, "stages": (1, 1, 2, 1)}),
    ("hrnet_w18_small", 64, {}),
    ("iformer_t", 224, {}),
    ("inception_next_atto", 64, {}),
    ("inception_resnet_v2", 96, {}),
    ("inception_v4", 96, {}),
    ("lcnetv2_small", 64, {}),
    ("levit_128s", 224, {}),
    ("levit_conv_128s", 224, {}),
    ("lowformer_b0", 64, {}),
    ("test_mambaout", 64, {}),
    ("test_coatnet", 64, {}),
    ("test_maxvit", 64, {}),
    ("caformer_s18", 64, {}),
    ("poolformerv2_s12", 64, {}),
    ("convformer_s18", 64, {}),
    ("mixer_s32_224", 224, {}),
    ("gmlp_ti16_224", 224, {}),
    ("resmlp_12_224", 224, {}),
    ("gmixer_12_224", 224, {}),
    ("lcnet_050", 64, {}),
    ("fbnetv3_b", 64, {}),
    ("mobilenetv3_small_050", 64, {}),
    ("mobilenetv4_conv_small_035", 64, {}),
    ("mobilenetv4_hybrid_medium", 64, {}),
    ("mobilevit_xxs", 64, {}),
    ("mobilevitv2_050", 64, {}),
    ("mvitv2_tiny", 224, {}),
    ("nest_tiny", 224, {}),
    ("nextvit_small", 64, {}),
    ("test_nfnet", 64, {}),
    ("pit_ti_224", 224, {"depth": (1, 1, 1)}),
    ("pvt_v2_b0", 64, {}),
    ("pvt_v2_b2_li", 224, {"depths": (1, 1, 1, 1), "embed_dims": (16, 32, 48, 64), "num_heads": (1, 2, 3, 4)}),
    ("rdnet_tiny", 64, {}),
    ("regnetx_002", 64, {}),
    ("regnetz_005", 64, {}),
    ("repghostnet_050", 64, {}),
    ("repvit_m0_9", 64, {}),
    ("res2net50_26w_4s", 64, {}),
    ("resnest14d", 64, {}),
    ("test_resnet", 64, {}),
    ("ecaresnet26t", 64, {}),
    ("seresnext26t_32x4d", 64, {}),
    ("resnetblur18", 64, {}),
    ("resnetv2_18", 64, {}),
    ("rexnet_100", 64, {}),
    ("selecsls42b", 64, {}),
    ("legacy_seresnet18", 64, {}),
    ("sequencer2d_s", 64, {"layers": (1, 1, 1, 1), "embed_dims": (16, 32, 32, 32), "hidden_sizes": (4, 8, 8, 8)}),
    ("shvit_s1", 64, {}),
    ("skresnet18", 64, {}),
    ("starnet_s050", 64, {}),
    ("swiftformer_xs", 64, {}),
    ("swin_tiny_patch4_window7_224", 224, {"embed_dim": 24, "depths": (1, 1, 2, 1)}),
    ("swinv2_tiny_window8_256", 256, {"embed_dim": 24, "depths": (1, 1, 2, 1)}),
    ("swinv2_cr_tiny_224", 224, {"embed_dim": 24, "depths": (1, 1, 2, 1)}),
    ("tiny_vit_5m_224", 224, {}),
    ("tnt_s_patch16_224", 64, {"depth": 2}),
    ("tresnet_m", 64, {}),
    ("twins_svt_small", 64, {"depths": (1, 1, 2, 1), "embed_dims": (16, 32, 48, 64), "num_heads": (1, 2, 3, 4)}),
    ("twins_pcpvt_small", 64, {"depths": (1, 1, 2, 1), "embed_dims": (16, 32, 48, 64), "num_heads": (1, 2, 3, 4)}),
    ("visformer_tiny", 224, {}),
    ("test_vit", 160, {}),
    ("test_vit2", 160, {}),
    ("test_vit3", 160, {}),
    ("vit_tiny_r_s16_p8_224", 224, {"depth": 2}),
    ("test_vit_relpos", 160, {}),
    ("samvit_base_patch16_224", 224, {"depth": 3, "embed_dim": 96, "num_heads": 4, "global_attn_indexes": (1,)}),
    ("vitamin_small_224", 224, {}),
    ("volo_d1_224", 224, {"layers": (1, 1, 1, 1), "embed_dims": (24, 48, 48, 48), "num_heads": (2, 4, 4, 4)}),
    ("ese_vovnet19b_slim", 64, {}),
    ("xception41", 64, {}),
    ("xcit_nano_12_p16_224", 224, {"depth": 2}),
    ("naflexvit_base_patch16_gap", 64, {"depth": 2, "embed_dim": 96, "num_heads": 4}),
    ("vit_base_patch16_siglip_224", 224, {"depth": 2, "embed_dim": 96, "num_heads": 4}),
]


def architectures() -> Iterator[Architecture]:
    """All of them, in the order of the tables."""
    for name, size, arguments in TORCHVISION:
        yield Architecture("torchvision", name, _torchvision(name, size, arguments), name not in DETECTION)
    for name, size, arguments in TIMM:
        yield Architecture("timm", name, _timm(name, size, arguments))


def _torchvision(name: str, size: int, arguments: dict[str, Any]) -> Any:
    def make() -> tuple[Any, dict[str, Any]]:
        import torch
        from torchvision import models

        given = dict(arguments)
        if name == "vit_b_32":
            return models.VisionTransformer(size, 32, num_heads=4, num_classes=10, **given), _images("x", size)
        if name.startswith("swin"):
            block = models.swin_transformer.SwinTransformerBlockV2 if "v2" in name else None
            merging = models.swin_transformer.PatchMergingV2 if "v2" in name else None
            more = {"block": block, "downsample_layer": merging} if block else {}
            heads = [1, 2, 4, 8]
            window = [8, 8] if block else [7, 7]
            module = models.SwinTransformer(
                [4, 4], num_heads=heads, window_size=window, num_classes=10, **given, **more
            )
            return module, _images("x", size)
        if name == "maxvit_t":
            module = models.MaxVit((size, size), 16, 7, [16, 32, 48, 64], [1, 1, 1, 1], 8, 0.0, num_classes=10)
            return module, _images("x", size)
        if name == "convnext_tiny":
            widths = [(24, 48, 1), (48, 96, 1), (96, 192, 2), (192, None, 1)]
            blocks = [models.convnext.CNBlockConfig(*each) for each in widths]
            return models.ConvNeXt(blocks, num_classes=10), _images("x", size)
        if name == "raft_small":
            return models.get_model(name), {**_images("image1", size), **_images("image2", size)}
        module = models.get_model(name, weights=None, **({} if name in DETECTION else {"num_classes": 10}), **given)
        if name in WIDE_HEADS:
            inputs = next(each for each in module.classifier if isinstance(each, torch.nn.Linear)).in_features
            sizes = iter([(inputs, 128), (128, 96), (96, 10)])
            parts = [torch.nn.Linear(*next(sizes)) if isinstance(p, torch.nn.Linear) else p for p in module.classifier]
            module.classifier = torch.nn.Sequential(*parts)
        if name in VIDEO:
            return module, {"x": torch.randn(BATCH, 3, 8, size, size)}
        if name in DETECTION:
            return module, {"images": torch.rand(1, 3, size, size)}
        return module, _images("input" if name.startswith("lraspp") else "x", size)

    return make


def _timm(name: str, size: int, arguments: dict[str, Any]) -> Any:
    def make() -> tuple[Any, dict[str, Any]]:
        import timm

        try:
            module = timm.create_model(name, num_classes=10, img_size=size, exportable=True, **arguments)
        except TypeError:
            module = timm.create_model(name, num_classes=10, exportable=True, **arguments)
        return module, _images("x", size)

    return make


def _images(name: str, size: int) -> dict[str, Any]:
    import torch

    return {name: torch.randn(BATCH, 3, size, size)}
