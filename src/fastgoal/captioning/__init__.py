"""Long captions from a local vision-language model: images in, data of the contract out.

The order to read in: `caption` is the pass; `pictures` says which images, `captioner` asks the model, `cleaning` makes
captions of its answers, `journal` keeps them on the disk.
"""

from fastgoal.captioning.caption import CaptionSettings, caption, check_place
from fastgoal.captioning.captioner import Captioner
from fastgoal.captioning.pictures import open_pictures
from fastgoal.captioning.prompt import PROMPT, read_prompt
from fastgoal.captioning.report import CaptionReport

__all__ = [
    "PROMPT",
    "CaptionReport",
    "CaptionSettings",
    "Captioner",
    "caption",
    "check_place",
    "open_pictures",
    "read_prompt",
]
