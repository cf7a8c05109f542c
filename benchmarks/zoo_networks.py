"""The networks of the zoo: every torchvision classifier, and a small member of each timm family."""

from __future__ import annotations

# More members where a module of timm holds several architectures.
_TIMM = (  # noqa: SIM905  read as words
    "beit_base_patch16_224 botnet26t_256 halonet26t lambda_resnet26t sehalonet33ts repvgg_a0 "
    "mobileone_s0 gernet_s regnetz_b16 gcresnet33ts resnet50_clip cait_xxs24_224 coat_tiny "
    "coat_lite_tiny convit_tiny convmixer_768_32 convnext_zepto_rms convnextv2_atto "
    "cpubone_nano crossvit_9_240 csatv2 cspdarknet53 cs3darknet_s cspnext_tiny davit_tiny "
    "deit_tiny_distilled_patch16_224 deit3_small_patch16_224 densenet121 densenetblur121d "
    "dla46_c dla60_res2net dpn48b edgenext_xx_small efficientformer_l1 efficientformerv2_s0 "
    "efficientnet_b0 efficientnet_b0_g8_gn efficientnet_cc_b0_4e tf_efficientnet_lite0 mixnet_s "
    "mnasnet_small spnasnet_100 tinynet_e efficientvim_m1 efficientvit_b0 efficientvit_m0 "
    "eva02_tiny_patch14_224 vit_small_patch16_rope_mixed_224 fasternet_t0 fastvit_t8 "
    "focalnet_tiny_srf gcvit_xxtiny ghostnet_050 ghostnetv2_100 ghostnetv3_050 hardcorenas_a "
    "hgnet_tiny hgnetv2_b0 hiera_tiny_224 hieradet_small hrnet_w18_small iformer_t "
    "inception_next_atto inception_resnet_v2 inception_v3 inception_v4 lcnetv2_small levit_128s "
    "levit_conv_128s lowformer_b0 mambaout_femto coatnet_nano_rw_224 maxvit_pico_rw_256 "
    "caformer_s18 convformer_s18 poolformer_s12 poolformerv2_s12 gmixer_12_224 gmlp_ti16_224 "
    "mixer_s32_224 resmlp_12_224 lcnet_050 mobilenetv3_small_050 mobilenetv4_conv_small "
    "mobilenetv4_hybrid_medium fbnetv3_b mobilenetv5_base mobilevit_xxs mobilevitv2_050 "
    "mvitv2_tiny mvitv2_small_cls naflexvit_base_patch16_gap nest_tiny nextvit_small nfnet_l0 "
    "nf_resnet26 nf_regnet_b0 pit_ti_224 pvt_v2_b0 pvt_v2_b2_li qwen3_vit_88m rdnet_tiny "
    "regnetx_002 regnety_002 regnetz_005 repghostnet_050 repvit_m0_9 res2net50_14w_8s "
    "res2next50 resnest14d resnet10t ecaresnet26t resnet50_gn resnetblur50 seresnext26d_32x4d "
    "resnetv2_18 resnetv2_50d_gn resnetv2_50x1_bit rexnet_100 rexnetr_100 selecsls42 "
    "legacy_seresnet18 legacy_seresnext26_32x4d sequencer2d_s shvit_s1 skresnet18 starnet_s050 "
    "swiftformer_xs swin_tiny_patch4_window7_224 swin_s3_tiny_224 swinv2_tiny_window8_256 "
    "swinv2_cr_tiny_224 tiny_vit_5m_224 tnt_s_legacy_patch16_224 tresnet_m twins_pcpvt_small "
    "twins_svt_small vgg11 visformer_tiny vit_tiny_patch16_224 vit_small_r26_s32_224 "
    "vit_tiny_r_s16_p8_224 vit_relpos_small_patch16_224 vit_srelpos_small_patch16_224 "
    "samvit_base_patch16_224 vitamin_small_224 volo_d1_224 ese_vovnet19b_slim vovnet39a "
    "legacy_xception xception41 xcit_nano_12_p16_224 gemma4_vit_167m pnasnet5large nasnetalarge "
    "deepseek_vit_412m"
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
