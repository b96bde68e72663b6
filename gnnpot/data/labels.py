"""What a frame is labeled with: one way to ask, one way to attach, and the checks at that door.

Labels live on an :class:`ase.Atoms`, in the results of its calculator (where ASE puts those it knows) or in
``info`` and ``arrays`` under the names of :data:`gnnpot.keys.PROPERTIES`. A label that is not there is absent
from the dictionary; it is never zero.
"""

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import ArrayLike, NDArray

from gnnpot.errors import DataError, did_you_mean
from gnnpot.keys import BORN, ENERGY, PROPERTIES, STRESS, Property

Labels = dict[str, Any]
"""Label name to float (energy) or float64 array (all others)."""

FloatArray = NDArray[np.float64]

_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
"""Where (a, b) of a symmetric tensor stands in ASE's order xx, yy, zz, yz, xz, xy."""


def frame_name(atoms: Atoms) -> str:
    """Name of a frame in messages: its file and its number there, counted from 0.

    >>> frame_name(Atoms("H2", info={"source": "h2.xyz", "frame": 3}))
    'h2.xyz, frame 3'
    """
    if "source" not in atoms.info:
        return f"a frame of {atoms.get_chemical_formula()} without a file name"
    return named_frame(atoms.info["source"], atoms.info.get("frame", 0))


def named_frame(source: object, number: int) -> str:
    """Name of frame ``number`` of the file ``source``."""
    return f"{source}, {'the last frame' if number == -1 else f'frame {number}'}"


def labels_of(atoms: Atoms) -> Labels:
    """All labels that ``atoms`` carries, in the units and shapes of the package.

    Keys that can be present: ``energy`` float (eV), ``forces`` (n_atoms, 3) (eV/Å), ``stress`` (3, 3)
    (eV/Å³, tension positive), ``born_effective_charges`` (n_atoms, 3, 3) (e, field first), ``polarization``
    (3,) (e·Å), ``dielectric_tensor`` (3, 3). Results of the calculator come first, then ``info`` and
    ``arrays``. A label that is NaN throughout is missing. So is everything a calculator computed before the
    atoms were moved, and the stress of a structure that is not periodic in three directions: no volume.

    Raises :class:`DataError` for a wrong shape, and for single components that are NaN or infinite.

    >>> labels_of(Atoms("H2", info={"energy": -31.7}))
    {'energy': -31.7}
    """
    results = _current_results(atoms)
    found: Labels = {}
    for name, quantity in PROPERTIES.items():
        value = results.get(name)
        if value is None:
            value = atoms.info.get(name) if quantity.level == "structure" else atoms.arrays.get(name)
        if value is None or (quantity is STRESS and not atoms.pbc.all()):
            continue
        label = checked_label(quantity, value, len(atoms), frame_name(atoms))
        if label is not None:
            found[name] = float(label) if quantity is ENERGY else label
    return found


def attach_labels(atoms: Atoms, labels: Labels) -> None:
    """Make ``labels`` the labels of ``atoms``, in place of any it had.

    ASE's own conventions hold on the calculator: ``stress`` as a Voigt vector (6,), ``free_energy`` = energy.

    >>> atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]])
    >>> attach_labels(atoms, {"energy": -31.7})
    >>> atoms.get_potential_energy()
    -31.7
    """
    results: Labels = {}
    for name, value in labels.items():
        if name not in PROPERTIES:
            raise DataError(f"'{name}' is no label: {did_you_mean(name, PROPERTIES)}")
        label = checked_label(PROPERTIES[name], value, len(atoms), frame_name(atoms))
        if label is not None:
            results[name] = label
    for name in PROPERTIES:
        atoms.info.pop(name, None)
        atoms.arrays.pop(name, None)
    if "energy" in results:
        results["energy"] = results["free_energy"] = float(results["energy"])
    if "stress" in results:
        results["stress"] = voigt_vector(results["stress"])
    atoms.calc = SinglePointCalculator(atoms, **results) if results else None


def checked_label(quantity: Property, value: ArrayLike, n_atoms: int, where: str) -> FloatArray | None:
    """``value`` as the float64 array that ``quantity`` asks for; None if it is NaN throughout.

    Raises :class:`DataError`, which names ``where``, for another shape and for single NaN or infinite parts.
    """
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{where}: the {quantity.name} are not numbers: {value!r}") from None
    expected = (n_atoms, *quantity.shape) if quantity.level == "atom" else quantity.shape
    label = _reshaped(array, quantity, expected)
    if label is None:
        raise DataError(
            f"{where}: {quantity.name} of shape {array.shape}, but {n_atoms} atoms need "
            f"{expected}{_other_shapes(quantity)}{_doubled(quantity, array, n_atoms)}"
        )
    finite = np.isfinite(label)
    if finite.all():
        return label
    if np.isnan(label).all():
        return None
    first = tuple(int(i) for i in np.argwhere(~finite)[0])
    place = f" of atom {first[0]}" if quantity.level == "atom" else ""
    raise DataError(
        f"{where}: {quantity.name}{place} is {label[first]}; drop the frame or remove its label"
        f" '{quantity.name}' (a label that is NaN throughout counts as missing)"
    )


def full_tensor(voigt: ArrayLike) -> FloatArray:
    """Symmetric (3, 3) tensor from xx, yy, zz, yz, xz, xy."""
    return np.asarray(voigt, dtype=np.float64)[_VOIGT]


def voigt_vector(tensor: ArrayLike) -> FloatArray:
    """xx, yy, zz, yz, xz, xy of the symmetric part of a (3, 3) tensor."""
    full = np.asarray(tensor, dtype=np.float64)
    symmetric = (full + full.T) / 2
    return symmetric[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def _current_results(atoms: Atoms) -> dict[str, Any]:
    """Results of the calculator that belong to the atoms as they are now."""
    calculator = atoms.calc
    if calculator is None or not hasattr(calculator, "results"):
        return {}
    if calculator.atoms is not None and calculator.check_state(atoms):
        return {}
    return dict(calculator.results)


def _reshaped(array: FloatArray, quantity: Property, expected: tuple[int, ...]) -> FloatArray | None:
    """``array`` in the ``expected`` shape, if it is one of the ways in which files hold it."""
    if array.shape == expected:
        return array
    if quantity.shape == () and array.size == 1:
        return array.reshape(())
    if expected == (3, 3) and array.shape == (6,):
        return full_tensor(array)
    if expected == (3, 3) and array.shape == (9,):
        return array.reshape(3, 3)
    if quantity is BORN and array.shape == (expected[0], 9):
        return array.reshape(expected)
    return None


def _doubled(quantity: Property, array: FloatArray, n_atoms: int) -> str:
    """A hint where a list has every atom twice, as some readers of VASP's output make it."""
    if quantity.level != "atom" or array.ndim == 0 or array.shape[0] != 2 * n_atoms:
        return ""
    return f": every atom stands there twice, take the first {n_atoms} rows"


def _other_shapes(quantity: Property) -> str:
    if quantity.shape != (3, 3):
        return ""
    return " (or 9 columns)" if quantity.level == "atom" else " (or 9, or 6 numbers xx yy zz yz xz xy)"
