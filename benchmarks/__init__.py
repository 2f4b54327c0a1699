"""Scripts that print one table each, with the machine named in it."""
