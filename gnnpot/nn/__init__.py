"""Building blocks of the potentials: they know graphs, not models."""
