"""Servers that are not started."""

from pathlib import Path

from tests.bad_input.cases import REFUSED, case, good

GROUP = "serve"


@case(GROUP, "no index", REFUSED, "no index here")
def _(folder: Path) -> list[str]:
    return ["serve", str(good(folder)), "--port", "0"]


@case(GROUP, "an address that others reach, without a token", REFUSED, "everyone who reaches this address")
def _(folder: Path) -> list[str]:
    return ["serve", "index", "--host", "0.0.0.0"]


@case(GROUP, "a token that is too short", REFUSED, "a token has 8 or more")
def _(folder: Path) -> list[str]:
    return ["serve", "index", "--token", "abc"]


@case(GROUP, "an address that is not this machine's", REFUSED, "cannot be listened at")
def _(folder: Path) -> list[str]:
    return ["serve", "index", "--host", "192.0.2.1", "--token", "long-enough"]


@case(GROUP, "a port that there is not", REFUSED, "--port")
def _(folder: Path) -> list[str]:
    return ["serve", "index", "--port", "99999"]


@case(GROUP, "no workers", REFUSED, "0 workers serve nothing")
def _(folder: Path) -> list[str]:
    return ["serve", "index", "--workers", "0"]


@case(GROUP, "a limit below zero", REFUSED, "-1.0 is out of range")
def _(folder: Path) -> list[str]:
    return ["serve", "index", "--upload-mib", "-1"]
