"""`fastgoal check`."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from fastgoal.checking import CheckSettings, audit, compare, draw_examples, tell, write_fix
from fastgoal.checking.captions import TextModel
from fastgoal.checking.fix import refuse_taken
from fastgoal.cli.common import (
    USUAL,
    ColumnNames,
    Data,
    Json,
    Limit,
    Root,
    quiet_libraries,
    write_result,
)
from fastgoal.data.source import open_source
from fastgoal.errors import ConfigError
from fastgoal.models.folder import read_tokenizer

Picture = Annotated[Path | None, Parameter(help="Draw five samples, with boxes and sentences, into this PNG file.")]
Fix = Annotated[Path | None, Parameter(help="Write the clean table, and what was left out, to this new folder.")]
Images = Annotated[int | None, Parameter(help="Open N images only, drawn evenly; 0 opens none (default: all).")]


def check(
    data: Data,
    /,
    *others: Data,
    model: str = "tiny",
    language: str = "en",
    images: Images = None,
    picture: Picture = None,
    fix: Fix = None,
    limit: Limit = None,
    root: Root = None,
    columns: ColumnNames = USUAL,
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
        _refuse_fix(fix, images)
    tokenizer, tokens = read_tokenizer(model)
    text_model = TextModel(name=model, tokenizer=tokenizer, limit=tokens)
    settings = CheckSettings(language=language, images=images)
    found, *rest = (
        audit(open_source(path, root=root, limit=limit, columns=columns.given, probe=False), text_model, settings)
        for path in (data, *others)
    )
    across = [finding for other in rest for finding in compare(found, other)]
    verdict = tell(found, across, language)
    print(verdict.text)
    for other in rest:
        troubles = sum(finding.count for finding in other.findings)
        print(f"{other.source.name}: {other.usable:,} usable samples, {troubles:,} troubles of its own.")
    result: dict[str, Any] = {
        "ready": verdict.ready,
        "reason": verdict.reason,
        **found.to_json(),
        "others": [other.to_json() for other in rest],
        "across": [finding.to_json() for finding in across],
    }
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


def _refuse_fix(folder: Path, images: int | None) -> None:
    """Before the long pass, not behind it."""
    if images is not None:
        raise ConfigError("--fix opens every image", where="--images", mend="Leave it out.")
    refuse_taken(folder)
