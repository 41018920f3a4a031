"""The page, read back with a parser: whole, nothing from outside, one script that the browser is told to trust."""

import base64
import hashlib
import re
from dataclasses import replace

import pytest
from tests.explain.conftest import picture
from tests.report.test_page import Reader

from fastgoal.explain.compare import explained
from fastgoal.explain.page import render
from fastgoal.explain.subjects import Instead, Subject, subjects
from fastgoal.regions import FixedRegions

NASTY = '<script>alert("x")</script> & "quoted" </style> {{ 7 * 7 }}'


@pytest.fixture(scope="module")
def page(every):
    return render(every, "other beside small")


def test_nothing_comes_from_outside(page):
    tags = Reader(page).tags
    assert not {"link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in tags}
    for _, attributes in tags:
        assert attributes.get("src", "data:image/").startswith("data:image/")
        assert not any(name.startswith("on") or name in ("href", "srcset") for name in attributes)
    assert set(re.findall(r"url\(\"(data:image/\w+)", page)) == {"data:image/jpeg", "data:image/png"}
    assert page.count("url(") == page.count('url("data:image/')
    assert "http://" not in page
    assert "https://" not in page


def test_the_one_script_is_the_one_that_is_trusted(page):
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    assert len(scripts) == page.count("<script") == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    policies = [attributes["content"] for _, attributes in Reader(page).tags if "http-equiv" in attributes]
    assert policies == [f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"]


def test_every_sentence_has_its_maps_boxes_and_button(page, every):
    tags = Reader(page).tags
    sentences = sum(len(one.explanations[0].sentences) for one in every)
    buttons = [attributes["data-show"] for tag, attributes in tags if tag == "button"]
    assert len(buttons) == sentences + len(every)
    assert buttons.count("attention") == len(every)
    heat = re.findall(r"\.h\d+-\d+-\d+ \{", page)
    assert len(heat) == len(set(heat)) == 2 * sentences  # one by each model
    classes = [attributes.get("class", "") for _, attributes in tags]
    assert classes.count("region") == classes.count("halo") == 2 * 2 * sentences  # large and small
    assert classes.count("true") == 2 * 2 * sum(3 for _ in every)
    assert sum("ring" in name for name in classes) == 2 * sentences


def test_figures_are_those_of_the_explanations(page, every):
    text = re.sub(r"\s+", " ", Reader(page).text)
    for one in every:
        for found in one.explanations:
            assert f"{found.similarity:.3f}" in text
            assert all(f"{sentence.score:.3f}" in text for sentence in found.sentences)
    words = [attributes["title"] for tag, attributes in Reader(page).tags if tag == "span" and "title" in attributes]
    assert len(words) == sum(len(found.words) for one in every for found in one.explanations)
    weight = every[0].explanations[0].words[0].weight
    assert words[0] == f"{weight:+.4f}".replace("-", "−")


def test_users_text_is_escaped_everywhere(encoder):
    instead = Instead(name=NASTY, image=picture(20, 20), ranks=(3,), gallery=7)
    subject = Subject(id=NASTY, image=picture(40, 30), caption=f"{NASTY}. A ball.", instead=instead)
    one = next(explained([encoder], [subject], proposer=FixedRegions()))
    named = replace(one, explanations=(replace(one.explanations[0], model=NASTY),))
    page = render([named], NASTY)
    assert page.count("<script") == page.count("</style>") == 1
    assert "alert(&#34;x&#34;)" in page
    assert "49" not in Reader(page).text.split("Rest on")[0]
    assert NASTY in Reader(page).text


def test_a_model_without_maps_says_so(siglip, encoder, source):
    page = render(list(explained([siglip, encoder], subjects(source, limit=1), words=False)), "t")
    text = Reader(page).text
    assert text.count("this model projects no patches, so there is no map") == 2
    assert "no map" in text.split("Rest on")[1]
    assert 'class="words"' not in page


def test_a_caption_that_says_nothing_still_makes_a_page(encoder):
    one = next(explained([encoder], [Subject(id="a", image=picture(1, 1), caption="...")]))
    assert [attributes for tag, attributes in Reader(render([one], "t")).tags if tag == "button"]


def test_each_model_says_what_lies_beyond_its_own_text_limit(encoder, siglip):
    caption = " ".join(f"The ball number {number} lies on the left." for number in range(9))
    one = next(explained([siglip, encoder], [Subject(id="a", image=picture(40, 30), caption=caption)], words=False))
    beyond = [[sentence.visible for sentence in found.sentences].count(False) for found in one.explanations]
    assert beyond[0] != beyond[1]
    assert Reader(render([one], "t")).text.count("beyond the text limit") == sum(beyond)
