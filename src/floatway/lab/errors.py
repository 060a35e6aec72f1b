"""The lab's one exception."""


class LabError(Exception):
    """The lab cannot do what was asked; the text says what, where and how to mend it."""
