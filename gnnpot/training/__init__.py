"""Training by Lightning: the only floor that imports it."""
