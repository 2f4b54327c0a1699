"""Codecs, containers, colour, HDR, image files, URLs and video devices."""
