"""The rules of the Networking API, one file per noun: pure functions over a ``Draft``."""
