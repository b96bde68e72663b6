"""Reads files of structures and labels, whatever their format, into frames with units of eV and Å."""

from gnnpot.data.readers.reading import FORMATS, iterate, read

__all__ = ["FORMATS", "iterate", "read"]
