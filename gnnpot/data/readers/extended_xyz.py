"""Extended XYZ, frame by frame, so that a broken frame is named and a cut file never ends early in silence."""

import re
import warnings
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io.extxyz import key_val_str_to_dict, read_xyz

from gnnpot.data.readers.sources import open_text
from gnnpot.errors import DataError, DataWarning

_TENSORS = ("stress", "virial")
_AS_WRITTEN = "_as_written"
_TENSOR_KEY = re.compile(r"(^|\s)(stress|virial)\s*=")


def read_extended_xyz(path: Path) -> Iterator[Atoms]:
    """Frames of an (extended) XYZ file.

    Raises :class:`DataError`, naming the frame, where a frame is cut off or is not what XYZ asks for.
    """
    for frame, text in enumerate(_frame_texts(path)):
        try:
            atoms = next(read_xyz(StringIO(text), index=0, properties_parser=_comment_line))
        except KeyError as error:
            raise DataError(f"{path}, frame {frame}: unknown element symbol {error}") from error
        except (OSError, ValueError, IndexError, TypeError, RuntimeError) as error:
            raise DataError(f"{path}, frame {frame} cannot be read: {error}") from error
        for name in _TENSORS:
            if name + _AS_WRITTEN in atoms.info:
                atoms.info[name] = atoms.info.pop(name + _AS_WRITTEN)
        yield atoms


def _comment_line(line: str) -> dict[str, Any]:
    """Entries of the comment line.

    Stress and virial are hidden from ASE, which refuses them with 6 numbers and reduces 9 to 6.
    """
    return dict(key_val_str_to_dict(_TENSOR_KEY.sub(rf"\1\2{_AS_WRITTEN}=", line)))


def _frame_texts(path: Path) -> Iterator[str]:
    """Text of each frame: the count, the comment, one line per atom, and ASE's VEC lines."""
    with open_text(path) as file:
        lines = enumerate(file, start=1)
        frame = 0
        pending: list[str] = []
        for number, line in lines:
            if pending and line.lstrip().startswith("VEC"):
                pending.append(line)
                continue
            if pending:
                yield "".join(pending)
                pending, frame = [], frame + 1
            if line.strip():
                n_lines = _n_atoms(line, path, frame, number) + 1
                pending = [line, *(text for _, (_, text) in zip(range(n_lines), lines, strict=False))]
                if len(pending) < n_lines + 1:
                    raise DataError(
                        f"{path}, frame {frame} is cut off: it announces {n_lines - 1} atoms in line {number} and"
                        f" ends after {max(len(pending) - 2, 0)}; the {frame} frames before it are whole"
                    )
        if pending:
            yield "".join(pending)
            _look_at_end(pending[-1], path, frame)


def _look_at_end(line: str, path: Path, frame: int) -> None:
    if not line.endswith("\n"):
        warnings.warn(
            f"{path}, frame {frame}: the last line has no end: {line[-30:]!r}. If the file was cut there, its last "
            "number is wrong",
            DataWarning,
            stacklevel=2,
        )


def _n_atoms(line: str, path: Path, frame: int, number: int) -> int:
    try:
        count = int(line)
    except ValueError:
        count = 0
    if count < 1:
        raise DataError(
            f"{path}, frame {frame}, line {number}: expected the number of atoms, found {line.strip()[:60]!r}"
        )
    return count
