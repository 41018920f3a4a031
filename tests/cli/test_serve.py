"""`fastgoal serve`: who is let in, as it was typed."""

import pytest

from fastgoal.cli import serve as command
from fastgoal.cli.serve import _hosts, _token
from fastgoal.errors import ConfigError


def test_a_token_is_needed_where_others_reach_the_server():
    assert _token(None, "127.0.0.1", without=False) is None
    assert _token(None, "0.0.0.0", without=True) is None
    assert _token("long-enough", "0.0.0.0", without=False) == "long-enough"
    with pytest.raises(ConfigError, match="everyone who reaches this address"):
        _token(None, "0.0.0.0", without=False)


@pytest.mark.parametrize("bad", ["", "short", "with a space", "ünlesbar", "line\nbreak"])
def test_a_token_that_no_client_can_send_is_refused(bad):
    with pytest.raises(ConfigError, match="--token"):
        _token(bad, "127.0.0.1", without=False)


def test_a_new_token_is_another_each_time():
    made = {_token("new", "127.0.0.1", without=False) for _ in range(3)}
    assert len(made) == 3
    assert all(len(token) >= 32 for token in made)


def test_names_are_checked_where_only_this_machine_is_let_in():
    assert "localhost" in _hosts("127.0.0.1", ())
    assert "[::1]" in _hosts("::1", ())
    assert "search.example" in _hosts("localhost", ("search.example",))
    assert _hosts("0.0.0.0", ()) == ()
    assert _hosts("0.0.0.0", ("search.example",)) == ("search.example",)


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "fastapi" else object())
    with pytest.raises(ConfigError, match=r"fastapi is not installed.*pip install 'fastgoal\[serve\]'"):
        command.serve("index")
