"""Many structures relaxed together: FIRE for each, forces of all from one evaluation."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms

from gnnpot.apps.skin import NeighborSkin, without_far_pairs
from gnnpot.data.graph import AtomicGraph, collate, edge_vectors_of
from gnnpot.errors import DataError
from gnnpot.models.potential import Potential
from gnnpot.models.prediction import EVALUATION_EDGES
from gnnpot.models.properties import derive

Array = npt.NDArray[np.float64]


class Fire:
    """Fast inertial relaxation engine (E. Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006)), ASE's constants.

    >>> engine = Fire()
    >>> engine.step(np.array([[1.0, 0.0, 0.0]])).tolist()
    [[0.010000000000000002, 0.0, 0.0]]
    """

    time_step, longest_time_step = 0.1, 1.0
    shrink, grow, patience = 0.5, 1.1, 5
    first_mixing, less_mixing = 0.1, 0.99
    longest_move = 0.2
    """Å, of all atoms together."""

    def __init__(self) -> None:
        self.mixing = self.first_mixing
        self.downhill = 0
        self.velocities: Array | None = None

    def step(self, forces: Array) -> Array:
        """What the atoms move, Å, ``(n_atoms, 3)``."""
        velocities = np.zeros_like(forces) if self.velocities is None else self.velocities
        if self.velocities is not None:
            velocities = self._steered(velocities, forces)
        self.velocities = velocities + self.time_step * forces
        move = self.time_step * self.velocities
        length = float(np.linalg.norm(move))
        return move if length <= self.longest_move else move * (self.longest_move / length)

    def _steered(self, velocities: Array, forces: Array) -> Array:
        """Velocities turned into the forces' direction, or stopped where they lead uphill."""
        if np.vdot(forces, velocities) <= 0.0:
            self.mixing, self.downhill = self.first_mixing, 0
            self.time_step *= self.shrink
            return np.zeros_like(velocities)
        along = forces * (np.linalg.norm(velocities) / np.linalg.norm(forces))
        velocities = (1.0 - self.mixing) * velocities + self.mixing * along
        if self.downhill > self.patience:
            self.time_step = min(self.time_step * self.grow, self.longest_time_step)
            self.mixing *= self.less_mixing
        self.downhill += 1
        return velocities


@dataclass
class Relaxed:
    """A structure where its relaxation ended."""

    atoms: Atoms
    converged: bool = False
    n_steps: int = 0
    max_force: float = float("nan")
    """eV/Å."""
    problem: str | None = None
    """Why it was given up, where it was."""


class _Moving:
    """One structure on its way."""

    def __init__(self, relaxed: Relaxed, potential: Potential, skin: float) -> None:
        self.relaxed = relaxed
        self.engine = Fire()
        device = str(potential.device)
        self.neighbors = NeighborSkin(potential.cutoff, skin, potential.dtype, device, keeps_far_edges=True)

    def graph(self) -> AtomicGraph | None:
        """Its graph with the edges of the skin; None where there is none, which ends the relaxation."""
        try:
            return self.neighbors.graph(self.relaxed.atoms)
        except DataError as error:
            self.relaxed.problem = str(error)
            return None

    def advance(self, forces: Array, fmax: float, steps: int) -> bool:
        """Take note of the forces, and move; whether there is more to do."""
        relaxed = self.relaxed
        for constraint in relaxed.atoms.constraints:
            constraint.adjust_forces(relaxed.atoms, forces)
        relaxed.max_force = float(np.linalg.norm(forces, axis=1).max(initial=0.0))
        if not np.isfinite(relaxed.max_force):
            relaxed.problem = f"step {relaxed.n_steps}: a force is not a number"
            return False
        relaxed.converged = relaxed.max_force < fmax
        if relaxed.converged or relaxed.n_steps == steps:
            return False
        relaxed.atoms.set_positions(relaxed.atoms.get_positions() + self.engine.step(forces))
        relaxed.n_steps += 1
        return True


class _Together:
    """The graphs of several moving structures as one, put together anew only where one was searched anew."""

    def __init__(self, potential: Potential) -> None:
        self.potential = potential
        self._key: list[tuple[int, int]] = []
        self._graph: AtomicGraph | None = None

    def forces(self, moving: Sequence[_Moving], graphs: Sequence[AtomicGraph]) -> list[Array]:
        """Forces on each, eV/Å."""
        key = [(id(one.relaxed), one.neighbors.n_searches) for one in moving]
        if self._graph is None or key != self._key:
            self._graph, self._key = collate(graphs), key
        elif len(graphs) > 1:
            self._graph.positions.copy_(torch.cat([graph.positions for graph in graphs]))
        graph = self._graph
        if not self.potential.ignores_far_edges:
            first = graph.edge_of_pair
            vectors = edge_vectors_of(graph, graph.edge_index[:, first], graph.edge_shifts[first])
            graph = without_far_pairs(graph, vectors.square().sum(dim=1) < self.potential.cutoff**2)
        found = derive(self.potential, graph, ["forces"])["forces"]
        parts = found.cpu().double().split([one.n_atoms for one in graphs])
        return [part.numpy().copy() for part in parts]


def relax_together(
    potential: Potential,
    frames: Sequence[Atoms],
    fmax: float,
    steps: int,
    skin: float,
    progress: Callable[[int], None] | None = None,
) -> list[Relaxed]:
    """Relax the positions of every structure; each takes the steps that it would take alone.

    As many are evaluated at once as have `EVALUATION_EDGES` edges; those that have converged make room for others.

    Args:
        potential: ready for inference.
        frames: structures; they stay as they are.
        fmax: eV/Å, the largest force left on an atom.
        steps: most steps of each.
        skin: Å, see `gnnpot.apps.skin`.
        progress: called with the number of structures done.
    """
    found = [Relaxed(atoms.copy()) for atoms in frames]
    waiting = deque(_Moving(relaxed, potential, skin) for relaxed in found)
    moving: list[_Moving] = []
    together = _Together(potential)
    while moving or waiting:
        moving, graphs = _admit(moving, waiting)
        if not moving:
            continue
        forces = together.forces(moving, graphs)
        moving = [one for one, f in zip(moving, forces, strict=True) if one.advance(f, fmax, steps)]
        if progress is not None:
            progress(len(found) - len(moving) - len(waiting))
    return found


def _admit(moving: list[_Moving], waiting: deque[_Moving]) -> tuple[list[_Moving], list[AtomicGraph]]:
    """Those that go on, and waiting ones for which there is room, with their graphs."""
    kept: list[_Moving] = []
    graphs: list[AtomicGraph] = []
    n_edges = 0
    candidates = deque(moving)
    while candidates or (waiting and n_edges < EVALUATION_EDGES):
        one = candidates.popleft() if candidates else waiting.popleft()
        graph = one.graph()
        if graph is not None:
            kept.append(one)
            graphs.append(graph)
            n_edges += graph.n_edges
    return kept, graphs
