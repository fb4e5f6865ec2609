"""The settings: one frozen model from flags, environment and a YAML file."""
