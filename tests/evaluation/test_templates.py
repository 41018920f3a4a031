"""Templates: eighty of our own, files of them, and what is no template."""

import pytest

from fastgoal.errors import ConfigError
from fastgoal.evaluation.templates import MANY, TEMPLATES, prompts, templates_named


def test_the_sets():
    assert TEMPLATES["plain"] == ("a photo of a {}.",)
    assert len(MANY) == len(set(MANY)) == 80
    assert all(template.count("{}") == 1 and len(template) < 60 for template in MANY)


def test_a_file_and_names_with_braces(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("\ufeffa scan of a {}.\n\n  {}, with {other} braces {0}. \r\n", encoding="utf-8")
    assert templates_named(str(file)) == ("a scan of a {}.", "{}, with {other} braces {0}.")
    assert prompts("{}, {other} {0}", ("a {b}", "c")) == ["a {b}, {other} {0}", "c, {other} {0}"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a photo of a {}.\na photo of a dog.", "mine.txt:2: the template 'a photo of a dog.' has no {}"),
        (b"a {}.\n\na {}.", "mine.txt:3: the template of line 1 again"),
        (b"\n \n", "mine.txt: no template"),
        (b"\xff{}", "mine.txt: no such templates"),
    ],
)
def test_a_file_that_does_not_do(tmp_path, content, says):
    (tmp_path / "mine.txt").write_bytes(content)
    with pytest.raises(ConfigError) as error:
        templates_named(str(tmp_path / "mine.txt"))
    assert says in str(error.value)


def test_no_such_set():
    with pytest.raises(ConfigError, match=r"nearly-many: no such templates .* \(plain, many\)"):
        templates_named("nearly-many")
