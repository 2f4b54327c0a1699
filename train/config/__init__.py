"""Settings of a training run: schema, recipes, differences and errors."""
