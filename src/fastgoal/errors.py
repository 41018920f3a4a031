"""What can go wrong for a user: what is wrong, where, and how to mend it.

Every error that bad input can cause is a `FastgoalError`; the command line prints it as one line and exits with code
2. A traceback therefore always means a defect of ours.
"""


class FastgoalError(Exception):
    """Bad input or an unusable setting.

    Args:
        what: what is wrong, as a phrase without a full stop.
        where: the file, row or field that holds it.
        mend: what the user can do about it, as an imperative sentence.
    """

    def __init__(self, what: str, *, where: object = None, mend: str | None = None) -> None:
        self.what, self.where, self.mend = what, None if where is None else str(where), mend
        super().__init__(f"{self.where}: {what}" if self.where else what)

    def __str__(self) -> str:
        return f"{super().__str__()}. {self.mend}" if self.mend else super().__str__()


def first_line(error: Exception) -> str:
    """What an error of another library says, in one line without a full stop; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


class DataError(FastgoalError):
    """Samples, captions, images or a pairs table that cannot be read or used."""


class ModelError(FastgoalError):
    """A model folder, checkpoint or tokenizer that cannot be used."""


class ConfigError(FastgoalError):
    """A setting that is unknown, of the wrong type, or out of range."""
