"""Styles that visitors of the page let this machine learn."""
