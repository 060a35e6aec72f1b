"""The lab's exceptions."""


class LabError(Exception):
    """The lab cannot do what was asked; the text says what, where and how to mend it."""


class BadRequestError(LabError):
    """What was asked makes no sense here, or no sense at all: there is no such lab, machine or namespace. Nothing was changed."""
