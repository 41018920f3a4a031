"""Metadata of cards, read by the hub's own library."""

import pytest
from huggingface_hub import DatasetCard, ModelCard

from fastgoal.hub import Measured, add_results, front_matter, model_index, read_metadata

LONG = Measured(protocol="long-retrieval", data="my photos/test", metrics={"R@1, text to image": 41.204})
JOINT = Measured(protocol="joint", data="my photos/test", metrics={"mAP@10, text to image": 20.0})


def card(path, metadata, body="\n\n# A model: tuned\n\nWords --- and\n---\nlines.\n"):
    path.write_text(front_matter(metadata) + body, encoding="utf-8")
    return path


def test_what_is_empty_is_left_out():
    assert front_matter({"license": "mit", "datasets": [], "base_model": None}) == "---\nlicense: mit\n---"


def test_figures_are_what_the_hub_reads(tmp_path):
    path = card(tmp_path / "README.md", {"license": "mit", **model_index("a-model", [LONG, JOINT])})
    found = ModelCard.load(path).data
    assert found.model_name == "a-model"
    assert [(r.task_type, r.task_name, r.dataset_name, r.dataset_type) for r in found.eval_results] == [
        ("image-text-retrieval", "long-retrieval", "my photos/test", "my-photos-test"),
        ("image-text-retrieval", "joint", "my photos/test", "my-photos-test"),
    ]
    assert [(r.metric_type, r.metric_value, r.metric_name) for r in found.eval_results] == [
        ("recall_at_1", 41.2, "R@1, text to image"),
        ("map_at_10", 20.0, "mAP@10, text to image"),
    ]
    assert found.metrics == ["recall"]


def test_later_figures_take_the_place_of_earlier_ones(tmp_path):
    path = card(tmp_path / "README.md", {"license": "mit", **model_index("a-model", [LONG])})
    body = ModelCard.load(path).text
    better = Measured(protocol="long-retrieval", data="my photos/test", metrics={"R@1, text to image": 50.0})
    other = Measured(protocol="long-retrieval", data="elsewhere", metrics={"R@1, text to image": 7.0})
    add_results(path, [better, other])
    found = ModelCard.load(path)
    assert [(r.dataset_name, r.metric_value) for r in found.data.eval_results] == [
        ("my photos/test", 50.0),
        ("elsewhere", 7.0),
    ]
    assert (found.data.license, found.data.model_name, found.text) == ("mit", "a-model", body)
    before = path.stat().st_mtime_ns
    add_results(path, [better, other])
    assert path.stat().st_mtime_ns == before


def test_a_card_without_figures_gets_them_under_its_title(tmp_path):
    path = card(tmp_path / "README.md", {"license": "mit"})
    add_results(path, [LONG])
    found = ModelCard.load(path).data
    assert (found.model_name, len(found.eval_results)) == ("A-model-tuned", 1)


@pytest.mark.parametrize("content", [None, "# No metadata\n", "---\nlicense: [\n---\n"])
def test_what_has_no_card_is_left_alone(content, tmp_path):
    path = tmp_path / "README.md"
    if content is not None:
        path.write_text(content)
    add_results(path, [LONG])
    assert (path.read_text() if content is not None else None) == content


def test_names_in_any_script_survive(tmp_path):
    path = card(tmp_path / "README.md", {"pretty_name": "Häuser: «alt»", "license": "mit"})
    assert read_metadata(path)["pretty_name"] == DatasetCard.load(path).data.pretty_name == "Häuser: «alt»"
