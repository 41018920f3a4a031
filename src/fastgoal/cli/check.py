"""`fastgoal check`."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from fastgoal.checking import Audit, CheckSettings, audit, compare, draw_examples, tell, write_fix
from fastgoal.checking.captions import TextModel
from fastgoal.checking.fix import refuse_taken
from fastgoal.cli.common import (
    CaptionColumn,
    IdColumn,
    ImageColumn,
    Json,
    Limit,
    Root,
    quiet_libraries,
    write_result,
)
from fastgoal.data.columns import Columns
from fastgoal.data.source import open_source
from fastgoal.errors import ConfigError
from fastgoal.models.folder import read_tokenizer

Picture = Annotated[Path | None, Parameter(help="Draw five samples, with boxes and sentences, into this PNG file.")]
Fix = Annotated[Path | None, Parameter(help="Write the clean table, and what was left out, to this new folder.")]
Images = Annotated[int | None, Parameter(help="Open N images only, drawn evenly; 0 opens none (default: all).")]


def check(
    data: Path,
    /,
    *others: Path,
    model: str = "tiny",
    language: str = "en",
    images: Images = None,
    picture: Picture = None,
    fix: Fix = None,
    limit: Limit = None,
    root: Root = None,
    image_column: ImageColumn = None,
    caption_column: CaptionColumn = None,
    id_column: IdColumn = None,
    json: Json = None,
) -> int:
    """What was understood of your data, what is broken, and the mend.

    Counts samples, tokens and sentences; opens the images; finds what is broken, equal or alike, within the data and
    across splits. Changes nothing; `--fix` writes a clean table to a new folder, which `fastgoal run` takes. The exit
    code is 0 if training could start and 1 if it could not.

    Example: `fastgoal check scenes/train scenes/test --picture look.png`

    Args:
        data: any shape of data that the other commands take.
        others: other splits of the same data, looked through for what they share with it.
        model: whose tokenizer and text limit count.
        language: of the captions, for cutting sentences.
    """
    quiet_libraries()
    if fix is not None:
        if images is not None:
            raise ConfigError("--fix opens every image", where="--images", mend="Leave it out.")
        refuse_taken(fix)
    tokenizer, tokens = read_tokenizer(model)
    text_model = TextModel(name=model, tokenizer=tokenizer, limit=tokens)
    settings = CheckSettings(language=language, images=images)
    columns = Columns(image=image_column, caption=caption_column, id=id_column)

    def look(path: Path) -> Audit:
        source = open_source(path, root=root, limit=limit, columns=columns, probe=False)
        return audit(source, text_model, settings)

    found = look(data)
    rest = [look(path) for path in others]
    across = [finding for other in rest for finding in compare(found, other)]
    verdict = tell(found, across, language)
    print(verdict.text)
    result: dict[str, Any] = {"ready": verdict.ready, "reason": verdict.reason, **found.to_json()}
    result["others"] = [other.to_json() for other in rest]
    result["across"] = [finding.to_json() for finding in across]
    for other in rest:
        troubles = sum(finding.count for finding in other.findings)
        print(f"{other.source.name}: {other.usable:,} usable samples, {troubles:,} troubles of its own.")
    if picture is not None:
        print(f"{draw_examples(found, picture, language)} samples drawn: {picture}")
    else:
        print("See five samples with --picture FILE.png.")
    if fix is not None:
        report = write_fix(found, fix)
        result["fix"] = report.to_json()
        print(f"{fix}: {report.kept:,} samples, {report.changed:,} of them mended; {report.left_out:,} left out.")
    write_result(json, result)
    return 0 if verdict.ready else 1
