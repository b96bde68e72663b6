"""Relaxation trajectories from the API of the Materials Project, by way of its own client, ``mp-api``.

Two documented calls are used: ``materials.search`` for the tasks of a material and their run types, and
``materials.tasks.get_trajectory`` for the ionic steps of a task (``emmet.core.trajectory.RelaxTrajectory``: energies in
eV, forces in eV/Å, stress in kbar as VASP gives it). The client reads the user's key from ``MP_API_KEY``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import ase
import numpy as np

from gnnpot.data.frames import FRAME, FUNCTIONAL, MATERIAL, ORIGIN
from gnnpot.data.importing import Batch
from gnnpot.data.mp_layouts import UNCORRECTED, functional_of, vasp_labelled
from gnnpot.errors import ConfigError, DataError

ENERGIES = ("e_fr_energy", "energy")
"""Names of the energy in a trajectory; the free energy first, to which the forces belong."""


@dataclass(frozen=True)
class TrajectoryFrame:
    """One ionic step of a trajectory as the API returns it."""

    trajectory: Mapping[str, Any]
    step: int
    material: str
    task: str
    run_type: Any

    def atoms(self) -> ase.Atoms:
        """The frame in eV and Å.

        Raises:
            DataError: a step without coordinates, or labels that are no numbers.
        """
        where = f"Materials Project, {self.material}, task {self.task}"
        coordinates = self.trajectory["cart_coords"][self.step]
        if coordinates is None:
            raise DataError(f"{where}, frame {self.step}: the step has no coordinates")
        lattice = self.trajectory.get("lattice")
        cell = None if not lattice else lattice[self.step if len(lattice) > 1 else 0]
        atoms = ase.Atoms(
            [int(z) for z in self.trajectory["elements"]],
            positions=np.array(coordinates, dtype=np.float64),
            cell=cell,
            pbc=cell is not None,
        )
        atoms.info |= {"source": where, "frame": self.step, MATERIAL: self.material, ORIGIN: "Materials Project API"}
        atoms.info[FRAME] = f"{self.task}-{self.step}"
        atoms.info[FUNCTIONAL] = functional_of({"run_type": self.trajectory.get("run_type") or self.run_type})
        energy = next((name for name in ENERGIES if self.trajectory.get(name)), None)
        labels = {name: self._of_step(name) for name in ("forces", "stress")}
        return vasp_labelled(atoms, {**labels, "energy": None if energy is None else self._of_step(energy)})

    def _of_step(self, name: str) -> Any:
        values = self.trajectory.get(name)
        return None if not values else values[self.step]


@dataclass(frozen=True)
class MaterialsProject:
    """All relaxation steps of materials, by their identifiers.

    Args:
        materials: as ``["mp-149"]``.
        client: an ``mp_api.client.MPRester`` (see `connect`), or anything with its two calls.
    """

    noun: ClassVar[str] = "materials"
    materials: Sequence[str]
    client: Any

    @property
    def size(self) -> int:
        """Number of materials."""
        return len(self.materials)

    def describe(self) -> dict[str, Any]:
        """Which materials, and what their energies are."""
        return {
            "title": "Materials Project API",
            "format": "mp_api",
            "energy": UNCORRECTED,
            "level_of_theory": "as the functional of each frame says, VASP, Materials Project",
            "materials": list(self.materials),
        }

    def batches(self, position: Mapping[str, Any], progress: Callable[[int], None]) -> Iterator[Batch]:
        """One batch for each material."""
        for k in range(int(position.get("material", 0)), len(self.materials)):
            yield Batch(self._frames(self.materials[k]), {"material": k + 1})
            progress(k + 1)

    def _frames(self, material: str) -> Iterator[TrajectoryFrame]:
        fields = ["material_id", "run_types"]
        documents = _answer(lambda: self.client.materials.search(material_ids=[material], fields=fields), material)
        if not documents:
            raise DataError(f"the Materials Project knows no {material}: look it up on materialsproject.org")
        for task, run_type in sorted(dict(_field(documents[0], "run_types") or {}).items()):
            trajectory = _plain(_answer(partial(self.client.materials.tasks.get_trajectory, str(task)), material))
            for step in range(len(trajectory["cart_coords"])):
                yield TrajectoryFrame(trajectory, step, material, str(task), getattr(run_type, "value", run_type))


def connect() -> Any:
    """A client of the Materials Project with the user's key.

    Raises:
        ConfigError: the client is not installed, or has no key.
    """
    try:
        from mp_api.client import MPRester
    except ImportError:
        raise ConfigError('format=mp_api needs the client of the Materials Project: pip install "gnnpot[mp]"') from None
    try:
        return MPRester()
    except Exception as error:
        raise ConfigError(
            f"the Materials Project's client cannot start ({error}): is the key in the environment as MP_API_KEY? Keys "
            "are on materialsproject.org/api"
        ) from error


def _answer(call: Callable[[], Any], material: str) -> Any:
    """What the client answers; whatever goes wrong between here and there becomes one message."""
    try:
        return call()
    except Exception as error:
        raise DataError(
            f"the Materials Project did not answer for {material} ({type(error).__name__}: {error}); what was imported "
            "before it stays, and the same command goes on"
        ) from error


def _field(document: Any, name: str) -> Any:
    return document.get(name) if isinstance(document, Mapping) else getattr(document, name)


def _plain(trajectory: Any) -> Mapping[str, Any]:
    """A trajectory as a dictionary, with the values of enumerations."""
    if not isinstance(trajectory, Mapping) or "cart_coords" not in trajectory:
        raise DataError(
            f"the client returned a {type(trajectory).__name__} in the place of a trajectory's dictionary: "
            'pip install "mp-api>=0.46"'
        )
    return {key: getattr(value, "value", value) for key, value in trajectory.items()}
