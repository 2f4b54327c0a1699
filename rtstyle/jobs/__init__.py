"""Long work that survives interruptions: a clip in segments, each kept as soon as it is finished."""
