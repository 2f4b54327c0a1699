"""Sources of frames: cameras, files, streams, the screen."""
