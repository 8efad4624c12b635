"""A folder of images that two projects are started on."""

import numpy as np


def write_pictures(folder, channels, side, each=40):
    """Write `each` PNG files for each of three classes, which differ by where they are bright."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for label in range(3):
        (folder / f"class_{label}").mkdir(parents=True)
        for number in range(each):
            pixels = rng.integers(0, 120, (side, side, channels))
            pixels[label * side // 3 : (label + 1) * side // 3] += 100
            image = Image.fromarray(pixels.astype("uint8").squeeze())
            image.save(folder / f"class_{label}" / f"{number}.png")
