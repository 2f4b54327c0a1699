"""rtstyle: any camera, video or stream as a moving painting, in real time."""

__version__ = "0.1.0"
