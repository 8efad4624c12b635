import torch.nn as nn

from .registry import register_model

__all__ = ["ConvMixer", "convmixer_small", "convmixer_xl"]


def _cfg(**kwargs):
    return {"num_classes": 10, "input_size": (1, 8, 8), "first_conv": "stem.0", "classifier": "head", **kwargs}


default_cfgs = {"convmixer_small": _cfg(), "convmixer_xl": _cfg(crop_pct=0.96)}


class Residual(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x):
        return self.fn(x) + x


class ConvMixer(nn.Module):
    def __init__(self, dim, depth, kernel_size=5, patch_size=2, in_chans=1, num_classes=10, act_layer=nn.GELU, **kwargs):
        super().__init__()
        self.num_classes = num_classes
        self.num_features = self.head_hidden_size = dim
        self.stem = nn.Sequential(
            nn.Conv2d(in_chans, dim, kernel_size=patch_size, stride=patch_size), act_layer(), nn.BatchNorm2d(dim)
        )
        self.blocks = nn.Sequential(
            *[
                nn.Sequential(
                    Residual(
                        nn.Sequential(
                            nn.Conv2d(dim, dim, kernel_size, groups=dim, padding="same"), act_layer(), nn.BatchNorm2d(dim)
                        )
                    ),
                    nn.Conv2d(dim, dim, kernel_size=1),
                    act_layer(),
                    nn.BatchNorm2d(dim),
                )
                for _ in range(depth)
            ]
        )
        self.pooling = nn.AdaptiveAvgPool2d((1, 1))
        self.head = nn.Linear(dim, num_classes) if num_classes > 0 else nn.Identity()

    def forward_features(self, x):
        return self.blocks(self.stem(x))

    def forward_head(self, x, pre_logits: bool = False):
        x = self.pooling(x).flatten(1)
        return x if pre_logits else self.head(x)

    def forward(self, x):
        return self.forward_head(self.forward_features(x))


def _create_convmixer(variant, pretrained=False, **kwargs):
    model = ConvMixer(**kwargs)
    model.default_cfg = default_cfgs[variant]
    return model


@register_model
def convmixer_xl(pretrained=False, **kwargs):
    return _create_convmixer("convmixer_xl", pretrained, **dict(dim=512, depth=16, kernel_size=9, **kwargs))


@register_model
def convmixer_small(pretrained=False, **kwargs):
    return _create_convmixer("convmixer_small", pretrained, **dict(dim=24, depth=2, kernel_size=5, **kwargs))
