"""Reads files, builds graphs, splits and stores them."""
