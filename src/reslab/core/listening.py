"""The listener where nobody listens."""


def unheard(*_: object) -> None:
    """Take anything and do nothing with it."""
