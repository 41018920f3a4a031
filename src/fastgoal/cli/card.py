"""`fastgoal card`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fastgoal.card import Licences, data_card, gather, measure_similarity
from fastgoal.checking.captions import TextModel
from fastgoal.cli.common import Device, Json, Root, quiet_libraries, write_result
from fastgoal.errors import ConfigError
from fastgoal.files import make_folder, shown_name, write_file
from fastgoal.models.dual_encoder import DualEncoder

Collection = Annotated[str, Parameter(name="--license", help="Licence of the collection, as the hub names it.")]
OfImages = Annotated[str, Parameter(name="--image-license", help="Licence of the images.")]
OfCaptions = Annotated[str, Parameter(name="--caption-license", help="Licence of the captions.")]


def card(
    data: Path,
    /,
    *,
    out: Path | None = None,
    model: str = "tiny",
    samples: int = 1000,
    name: str = "",
    language: str = "",
    license_: Collection = "",
    image_license: OfImages = "",
    caption_license: OfCaptions = "",
    root: Root = None,
    device: Device = "cpu",
    json: Json = None,
) -> None:
    """Write the card of a data set: its statistics, and where it comes from.

    Markdown with the hub's metadata. Counts captions, words, tokens, sentences, regions and local pairs, and measures
    how well images and captions fit together by a CLIP that you name. Captioner, matcher and detector come from the
    records that `fastgoal caption` and `fastgoal match` left. What only you can know, licences above all, stays a TODO.

    Example: `fastgoal card pairs --model openai/clip-vit-large-patch14 --license cc-by-4.0 --out README.md`

    Args:
        data: a pairs table, or data of any shape that the other commands take.
        out: the Markdown file (default: print it).
        model: the CLIP that counts tokens and measures similarity.
        samples: how many samples the similarity is measured on, drawn evenly; 0 measures none.
        name: of the data set, for people (default: the folder's).
        language: of the captions (default: guessed).
    """
    quiet_libraries()
    if samples < 0:
        raise ConfigError(f"{samples} samples", where="--samples", mend="Use 0 or more.")
    encoder = DualEncoder.load(model, device=device)
    text_model = TextModel(name=shown_name(model), tokenizer=encoder.tokenizer, limit=encoder.text_limit)
    facts, rows = gather(data, text_model, root=root, language=language or "en")
    if samples:
        facts = replace(facts, similarity=measure_similarity(rows, encoder, samples))
    licences = Licences(collection=license_, images=image_license, captions=caption_license)
    text = data_card(facts, licences, name=name, language=language)
    if out is None:
        print(text, end="")
    else:
        make_folder(out.parent)
        write_file(out, text)
        print(f"{out}: a card of {facts.samples:,} samples, with {text.count('TODO')} places marked TODO for you.")
    write_result(json, facts.to_json())
