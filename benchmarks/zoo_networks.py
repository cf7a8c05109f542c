"""The networks of the zoo: every torchvision classifier, and a small member of each timm family."""

from __future__ import annotations

# More members where a module of timm holds several architectures.
_TIMM = (  # noqa: SIM905  read as words
    "beit_base_patch16_224 botnet26t_256 halonet26t lambda_resnet26t repvgg_a0 gcresnet33ts "
    "cait_xxs24_224 coat_tiny convit_tiny convmixer_768_32 convnextv2_atto cpubone_nano "
    "crossvit_9_240 csatv2 cs3darknet_s cspnext_tiny davit_tiny deit_tiny_distilled_patch16_224 "
    "densenet121 dla46_c dpn48b edgenext_xx_small efficientformer_l1 efficientformerv2_s0 "
    "efficientnet_b0 efficientnet_cc_b0_4e mixnet_s efficientvim_m1 efficientvit_b0 "
    "efficientvit_m0 eva02_tiny_patch14_224 vit_small_patch16_rope_mixed_224 fasternet_t0 "
    "fastvit_t8 focalnet_tiny_srf gcvit_xxtiny ghostnet_050 hardcorenas_a hgnetv2_b0 "
    "hiera_tiny_224 hieradet_small hrnet_w18_small iformer_t inception_next_atto "
    "inception_resnet_v2 inception_v3 inception_v4 lcnetv2_small levit_128s lowformer_b0 "
    "mambaout_femto coatnet_nano_rw_224 maxvit_pico_rw_256 caformer_s18 poolformer_s12 "
    "gmlp_ti16_224 resmlp_12_224 mobilenetv3_small_050 mobilenetv4_hybrid_medium "
    "mobilenetv5_base mobilevit_xxs mobilevitv2_050 mvitv2_tiny naflexvit_base_patch16_gap "
    "nest_tiny nextvit_small nfnet_l0 nf_regnet_b0 pit_ti_224 pvt_v2_b0 qwen3_vit_88m "
    "rdnet_tiny regnetx_002 regnetz_005 repghostnet_050 repvit_m0_9 res2net50_14w_8s resnest14d "
    "resnet10t resnet50_gn resnetv2_50x1_bit rexnet_100 selecsls42 legacy_seresnet18 "
    "sequencer2d_s shvit_s1 skresnet18 starnet_s050 swiftformer_xs swin_tiny_patch4_window7_224 "
    "swinv2_tiny_window8_256 swinv2_cr_tiny_224 tiny_vit_5m_224 tnt_s_legacy_patch16_224 "
    "tresnet_m twins_pcpvt_small twins_svt_small vgg11 visformer_tiny vit_tiny_patch16_224 "
    "vit_tiny_r_s16_p8_224 vit_relpos_small_patch16_224 samvit_base_patch16_224 "
    "vitamin_small_224 volo_d1_224 ese_vovnet19b_slim legacy_xception xception41 "
    "xcit_nano_12_p16_224 gemma4_vit_167m pnasnet5large nasnetalarge deepseek_vit_412m"
).split()

_LARGE = {
    *("alexnet", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "regnet_x_32gf"),
    *("regnet_y_16gf", "regnet_y_32gf", "wide_resnet101_2", "convnext_large", "efficientnet_b7"),
    *("vit_l_16", "vit_l_32", "vit_h_14", "regnet_y_128gf", "nasnetalarge", "deepseek_vit_412m"),
    *("resnext101_64x4d", "efficientnet_v2_l", "gemma4_vit_167m", "pnasnet5large", "swin_b"),
    *("vit_b_16", "vit_b_32", "convnext_base", "wide_resnet50_2", "resnext101_32x8d", "swin_v2_b"),
}


def members() -> list[str]:
    """All names, `timm:NAME` and `torchvision:NAME`, the largest last."""
    import torchvision.models  # noqa: PLC0415  seconds

    known = torchvision.models.list_models(module=torchvision.models)
    every = [f"timm:{name}" for name in _TIMM] + [f"torchvision:{name}" for name in known]
    return sorted(every, key=lambda name: name.partition(":")[2] in _LARGE)
