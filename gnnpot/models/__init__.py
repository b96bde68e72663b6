"""The contract of every potential, the potentials, and their checkpoints."""
