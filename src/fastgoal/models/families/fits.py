"""An image processor's settings as an `ImageFit`, for every family: the names of the settings are transformers' own."""

from typing import Any

from fastgoal.errors import ModelError
from fastgoal.geometry import ImageFit


def fit_of(processor: Any, side: int, where: object) -> ImageFit:
    """The settings of a Pil image processor, for a model whose input is `side` x `side` pixels.

    Raises:
        ModelError: settings that no `ImageFit` can say (no resize, an oblong crop, another scale), or that do not
            give the size of the model's input.
    """
    squash = not processor.size.shortest_edge
    resize = _square(processor.size) if squash else int(processor.size.shortest_edge)
    crops = getattr(processor, "do_center_crop", False)
    size = _square(processor.crop_size) if crops else resize if squash else 0
    scaled = processor.do_resize and processor.do_rescale and abs(processor.rescale_factor * 255 - 1) < 1e-6
    if not scaled or size != side or (resize != size if squash else resize < size):
        raise ModelError(
            f"its image preprocessing does not give squares of {side} pixels",
            where=where,
            mend="Correct size, crop_size and the do_ switches in preprocessor_config.json",
        )
    mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ((0, 0, 0), (1, 1, 1))
    return ImageFit(
        mode="squash" if squash else "crop",
        size=size,
        resize=resize,
        resample=int(processor.resample),
        mean=_triple(mean),
        std=_triple(std),
    )


def _square(size: Any) -> int:
    return int(size.height) if size.height and size.height == size.width else 0


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
