"""One file for each command of ``rtstyle``; everything heavy is imported inside the functions."""
