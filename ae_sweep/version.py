"""The version of ae-sweep."""

__version__ = "0.1.0"
