"""Stand-ins for software that is not on every machine, strict about what the real one takes."""
