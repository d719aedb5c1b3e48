"""Names of the classifiers, for `--arch`. Standard library only."""

import difflib
import re

APPLICATIONS = {  # {network of keras.applications: scale of the pixels that it takes}
    network: scale
    for scale, networks in {
        "tf": "MobileNet MobileNetV2 ResNet50V2 ResNet101V2 Xception InceptionV3 NASNetMobile",
        "caffe": "ResNet50 ResNet101 VGG16 VGG19",
        "torch": "DenseNet121 DenseNet169 DenseNet201",
        "own": "EfficientNetB0 EfficientNetV2B0 EfficientNetV2S ConvNeXtTiny MobileNetV3Small"
        " MobileNetV3Large",
    }.items()
    for network in networks.split()
}


def check_arch(arch: str) -> tuple[int, bool] | None:
    """Returns (depth, v2) of a ResNet's name, None for another network.

    Raises ValueError with the legal names where there is no such network.
    """
    found = re.fullmatch(r"resnet([0-9]{1,6})(v2)?", arch)
    if arch == "simple" or arch in APPLICATIONS:
        return None
    if not found:
        names = (
            "simple, resnet20 (or 32, 56, ...: 6n+2), resnet20v2 (56v2, ...: 9n+2) or one of"
            " keras.applications, e.g. MobileNetV2"
        )
        close = difflib.get_close_matches(arch, APPLICATIONS, n=1)
        raise ValueError(
            f"arch is {arch!r}, but has to be {names}"
            + (f"; did you mean {close[0]}?" if close else "")
        )
    depth, step, v2 = int(found[1]), 9 if found[2] else 6, found[2] or ""
    if depth < step + 2 or (depth - 2) % step:
        below = max(1, (depth - 2) // step) * step + 2
        raise ValueError(
            f"there is no {arch}: a depth is {step}n+2, the nearest are resnet{below}{v2} and"
            f" resnet{below + step}{v2}"
        )
    return depth, bool(v2)
