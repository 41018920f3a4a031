"""`fastgoal stretch`."""

from pathlib import Path

from fastgoal.cli.common import quiet_libraries
from fastgoal.models.dual_encoder import DualEncoder
from fastgoal.models.folder import expect_free


def stretch(model: str, out: Path, /, *, tokens: int = 248) -> None:
    """Give a model more text positions, as Long-CLIP does.

    The first 20 rows of the position table are kept and the rest is interpolated; 248 gives Long-CLIP's table exactly.
    A model that was not trained on long texts afterwards reads them, but not well.

    Example: `fastgoal stretch tiny tiny-248 --tokens 248`

    Args:
        model: the model to start from.
        out: folder of the new model.
        tokens: the new text limit, begin and end token included.
    """
    quiet_libraries()
    expect_free(out)
    encoder = DualEncoder.load(model, text_tokens=tokens)
    encoder.save(out)
    print(f"{out}: reads {encoder.text_limit} tokens")
