"""Codecs, colour, HDR, image files and URLs."""
