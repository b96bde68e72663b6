"""Total charges of frames, ``atoms.info["charge"]`` in e: filled in, asked for, and looked at."""

from collections import Counter
from collections.abc import Iterable, Sequence

from ase import Atoms

from gnnpot.data.frames import entries_of
from gnnpot.data.labels import frame_name
from gnnpot.errors import DataError

WITHOUT_CHARGE = (
    'no total charge is given, and this model takes it as an input (charge: true): set atoms.info["charge"], in '
    "extended XYZ charge=0 in the comment line, or data.charge=0 for all frames that state none"
)
WITHOUT_VOLUME = (
    "the structure is not periodic in three directions, and this model takes the charge per volume of the cell as an "
    "input (charge: true): there is none. Use a model of charge: false, or a periodic cell"
)


def fill_charges(frames: Iterable[Atoms], charge: float | None) -> None:
    """Give ``charge`` to the frames that state none; None leaves all as they are.

    >>> frames = [Atoms("H"), Atoms("H", info={"charge": 1.0})]
    >>> fill_charges(frames, 0)
    >>> [atoms.info["charge"] for atoms in frames]
    [0.0, 1.0]
    """
    if charge is not None:
        for atoms in frames:
            if atoms.info.get("charge") is None:
                atoms.info["charge"] = float(charge)


def refuse_without_charge(frames: Iterable[Atoms]) -> None:
    """Name the frame that has no charge per volume to give to a model that needs it.

    Raises:
        DataError: a frame without a charge, or not fully periodic.
    """
    for atoms in frames:
        if not atoms.pbc.all():
            raise DataError(f"{frame_name(atoms)}: pbc is {atoms.pbc.tolist()}: {WITHOUT_VOLUME}")
        if atoms.info.get("charge") is None:
            raise DataError(f"{frame_name(atoms)}: {WITHOUT_CHARGE}")


def unseen_charges(frames: Sequence[Atoms]) -> str | None:
    """A warning that frames differ in a charge that a model does not see; None where they do not.

    >>> unseen_charges([Atoms("H"), Atoms("H", info={"charge": 0.0})]) is None
    True
    """
    counts = Counter(float(charge or 0.0) for charge in entries_of(frames, "charge"))
    if len(counts) < 2:
        return None
    listed = ", ".join(f"{charge:g} e ({n} frames)" for charge, n in sorted(counts.items()))
    return (
        f"the training frames have different total charges: {listed}. The model does not see them and cannot tell "
        "their energies apart: add model.charge=true"
    )
