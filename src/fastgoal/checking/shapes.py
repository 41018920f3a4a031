"""The shape of the data that was found, in words."""

from fastgoal.data.readers.folder import FolderReader
from fastgoal.data.readers.lines import CsvReader, JsonLinesReader
from fastgoal.data.readers.tables import TableReader
from fastgoal.data.readers.tars import TarReader
from fastgoal.data.source import Source


def shape_of(source: Source) -> str:
    """Such as `JSON lines (captions.jsonl)`."""
    match source.entries:
        case FolderReader():
            return "a folder of images with a .txt each"
        case JsonLinesReader(file=file):
            return f"JSON lines ({file.name})"
        case CsvReader(file=file):
            return f"a table in text ({file.name})"
        case TableReader(files=files):
            kind = "Parquet" if files[0].suffix == ".parquet" else "Arrow, as `datasets` saves it"
            return f"{kind} ({files[0].name}{_more(len(files))})"
        case TarReader(files=files):
            return f"WebDataset tars ({files[0].name}{_more(len(files))})"
    return "samples"


def _more(files: int) -> str:
    return f" and {files - 1:,} more" if files > 1 else ""
