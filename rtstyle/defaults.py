"""Defaults that the command line and the Python API share."""

DEFAULT_STYLE = "vangogh"
