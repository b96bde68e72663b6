"""Potentials of n2p2 (Singraber et al., J. Chem. Theory Comput. 15, 1827 (2019)) as `HDNNP`.

A folder holds ``input.nn`` (settings and symmetry functions), ``scaling.data`` (range of every function) and one
``weights.ZZZ.data`` per element. Elements are in the order of their atomic numbers, and functions are numbered as
`gnnpot.nn.symmetry_functions.sort_as_n2p2` sorts them, not as ``input.nn`` lists them. What is computed::

    E = Σ_i [e_Z + e_mean + y_i / c_E],  y_i = network_Z(S_min + (S_max - S_min) (G - a) / b)

e_Z is ``atom_energy``, e_mean and c_E are ``mean_energy`` and ``conv_energy``, 0 and 1 unless given; a and b are
columns of ``scaling.data`` that the ``scale_...`` keywords choose.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
import yaml
from ase.data import atomic_numbers, chemical_symbols
from torch import Tensor, nn

from gnnpot.data.readers.units import units_from
from gnnpot.errors import CheckpointError, ConfigError, DataError, DataWarning
from gnnpot.keys import ANGSTROM_PER_BOHR, EV_PER_HARTREE
from gnnpot.models.hdnnp import HDNNP
from gnnpot.nn.descriptors import DescriptorSet
from gnnpot.nn.symmetry_functions import N2P2_ENVELOPES, from_n2p2_line, sort_as_n2p2

SETTINGS = "input.nn"
SCALING = "scaling.data"
WEIGHTS = "weights.{:03d}.data"
UNITS = "units.yaml"
"""Ours, not n2p2's: what the numbers of the other files are in, where that is not hartree and bohr."""


@dataclass(frozen=True)
class Activation:
    """An activation of n2p2 in terms of one of ours: f(x) = offset + outer · g(inner · x)."""

    name: str
    inner: float = 1.0
    outer: float = 1.0
    offset: float = 0.0


ACTIVATIONS = {
    "t": Activation("tanh"),
    "s": Activation("tanh", inner=0.5, outer=0.5, offset=0.5),
    "S": Activation("tanh", inner=0.5, outer=-0.5, offset=0.5),
    "p": Activation("shifted_softplus", offset=math.log(2.0)),
}
"""What ``global_activation_short`` may be: tanh, logistic 1/(1 + e⁻ˣ), 1 less it, and softplus ln(1 + eˣ)."""

REFUSED_KEYWORDS = ("element_nodes_short", "element_activation_short", "global_symfunction_short",
                    "element_symfunction_short", "use_short_forces_charge")  # fmt: skip
STRANGE_ENVELOPES = {
    0: "no envelope", 2: "tanh³(1 - r/r_c), normalized", 3: "tanh³(1 - r/r_c)", 4: "exponential", 5: "polynomial, C¹",
    7: "polynomial, C³", 8: "polynomial, C⁴",
}  # fmt: skip
"""Cutoff functions of n2p2 that do not exist here."""
SHORT = 3.8
"""Largest cutoff, Å, below which a potential may well be one that was written in Å instead of bohr."""
TYPES_OF_SHORT_RANGE = ("0", "2", "2G-HDNNP")
"""``nnp_type`` of potentials without charges, as older and newer versions number it."""


def is_n2p2(folder: Path) -> bool:
    """Whether a folder holds a potential of n2p2."""
    return (folder / SETTINGS).is_file()


def load_n2p2(folder: str | Path) -> HDNNP:
    """Read ``input.nn``, ``scaling.data`` and ``weights.*.data``; the result is in float64.

    The files state no units: lengths are taken as bohr and energies as hartree, n2p2's convention, unless the folder
    has a file ``units.yaml`` that says ``{energy: eV, length: angstrom}``. ``cutoff_type``
    1 (cosine) and 6 (polynomial), tanh, logistic and softplus networks, every scaling, ``normalize_nodes`` and
    ``mean_energy``, ``conv_energy``, ``conv_length`` are understood.

    Forces are the derivatives of the energy. Those of n2p2 2.3 differ in cells so small that an atom is its own
    neighbor, where it leaves out the reaction of the atom's own images: 0.001 to 0.04 eV/Å in five of the 85 published
    test frames, all of them surfaces.

    Raises:
        CheckpointError: a file is missing or malformed, or asks for what gnnpot does not have; named in the message.
    """
    folder = Path(folder).expanduser()
    settings = Settings(folder / SETTINGS)
    try:
        read = [from_n2p2_line(line, settings.envelope, settings.length) for line in settings.function_lines]
        functions = sort_as_n2p2(read)
        lines = [str(function) for function in functions]
        cutoff = max(function.cutoff for function in functions)
        name = settings.activations[0].name
        model = HDNNP(settings.elements, cutoff, lines, hidden=settings.hidden, activation=name, short_range=None)
    except (ConfigError, DataError) as error:
        raise CheckpointError(f"{folder / SETTINGS}: {error}") from None
    if cutoff < SHORT and not settings.states_units:
        warnings.warn(
            f"{folder / SETTINGS}: the largest cutoff is {cutoff / ANGSTROM_PER_BOHR:.3g} bohr = {cutoff:.3g} Å, which "
            "is short. Lengths are taken as bohr and energies as hartree. If this potential was trained in Å and eV, "
            f"put a file {UNITS} beside it with the line {{energy: eV, length: angstrom}}, else one with its own units",
            DataWarning,
            stacklevel=2,
        )
    model.double()
    _fill_scale(model, settings, folder / SCALING)
    for t, z in enumerate(model.elements):
        last_bias = _fill_network(model, t, settings, folder / WEIGHTS.format(z))
        _set_reference(model, t, settings, last_bias)
    model.energy_scale.scale.fill_(settings.energy / settings.number("conv_energy", 1.0))
    return model.eval()


class Settings:
    """Keywords of ``input.nn``; those of training are passed over, those that change the energy are understood.

    Raises:
        CheckpointError: a keyword that is missing, or whose value gnnpot does not have.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.words: dict[str, list[list[str]]] = {}
        for line in _lines(path):
            keyword, *values = line.split()
            self.words.setdefault(keyword, []).append(values)
        self.states_units = (path.parent / UNITS).is_file()
        self.energy, self.length = (
            _units(path.parent / UNITS) if self.states_units else (EV_PER_HARTREE, ANGSTROM_PER_BOHR)
        )
        self._refuse_strange()
        self.elements = self._elements()
        self.function_lines = [" ".join(["symfunction_short", *v]) for v in self.words.get("symfunction_short", [])]
        if not self.function_lines:
            raise self.error("no symfunction_short in it: the potential has no symmetry functions")
        self.envelope = self._envelope()
        self.hidden = [int(self.numeric(word)) for word in self.values("global_nodes_short")]
        self.activations = self._activations()
        self.normalizes_nodes = "normalize_nodes" in self.words

    def error(self, message: str) -> CheckpointError:
        """Error that names the file."""
        return CheckpointError(f"{self.path}: {message}")

    def numeric(self, word: str) -> float:
        """Number that a word stands for."""
        try:
            return float(word)
        except ValueError:
            raise self.error(f"{word!r} is no number") from None

    def values(self, keyword: str) -> list[str]:
        """Words after a keyword that must be there."""
        found = self.words.get(keyword)
        if not found or not found[0]:
            raise self.error(f"the keyword {keyword} is missing")
        return found[0]

    def number(self, keyword: str, default: float) -> float:
        """Number after a keyword that may be left out."""
        return self.numeric(self.values(keyword)[0]) if keyword in self.words else default

    def atom_energy(self, z: int) -> float:
        """Energy of the free atom, added back to the network's, hartree."""
        energy = 0.0
        for row in self.words.get("atom_energy", []):
            if len(row) != 2:
                raise self.error(f"atom_energy {' '.join(row)}: an element and a number belong there")
            if row[0] == chemical_symbols[z]:
                energy = self.numeric(row[1])
        return energy

    def _refuse_strange(self) -> None:
        for keyword in REFUSED_KEYWORDS:
            if keyword in self.words:
                raise self.error(f"the keyword {keyword} is not understood by gnnpot")
        kind = self.words.get("nnp_type", [["0"]])[0][0]
        if kind not in TYPES_OF_SHORT_RANGE:
            raise self.error(f"nnp_type {kind}: only potentials without charges are read ({TYPES_OF_SHORT_RANGE[-1]})")
        given = [word for word in ("mean_energy", "conv_energy", "conv_length") if word in self.words]
        if len(given) in (1, 2):
            raise self.error("mean_energy, conv_energy and conv_length belong together; give all of them or none")

    def _elements(self) -> list[int]:
        symbols = self.values("elements")
        for symbol in symbols:
            if atomic_numbers.get(symbol, 0) == 0:
                raise self.error(f"elements: {symbol!r} is no element")
        return sorted(atomic_numbers[symbol] for symbol in symbols)

    def _envelope(self) -> str:
        number, *alpha = self.values("cutoff_type")
        kind = int(self.numeric(number))
        if kind not in N2P2_ENVELOPES:
            known = " and ".join(f"{n} ({name})" for n, name in N2P2_ENVELOPES.items())
            strange = f"{number} ({STRANGE_ENVELOPES[kind]})" if kind in STRANGE_ENVELOPES else number
            raise self.error(f"cutoff_type {strange} does not exist here; {known} do")
        if alpha and self.numeric(alpha[0]) != 0.0:
            raise self.error(f"cutoff_type {number} {alpha[0]}: an inner cutoff does not exist here, only 0")
        return N2P2_ENVELOPES[kind]

    def _activations(self) -> list[Activation]:
        n = len(self.hidden)
        if n != int(self.numeric(self.values("global_hidden_layers_short")[0])):
            raise self.error("global_nodes_short must have one number for each of global_hidden_layers_short")
        words = self.values("global_activation_short")
        strange = [word for word in words[:n] if word not in ACTIVATIONS] + [w for w in words[n:] if w != "l"]
        if strange or len(words) < n:
            known = ", ".join(ACTIVATIONS)
            raise self.error(f"global_activation_short {' '.join(words)}: hidden layers may have {known}, the last l")
        found = [ACTIVATIONS[word] for word in words[:n]]
        if len({activation.name for activation in found}) > 1:
            raise self.error(f"global_activation_short {' '.join(words)}: all hidden layers need one activation here")
        return found


def _units(path: Path) -> tuple[float, float]:
    """Units of energy and length in eV and Å, as a file states them."""
    try:
        stated = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(stated, dict) or set(stated) != {"energy", "length"}:
            raise CheckpointError(f"{path}: it must say {{energy: eV, length: angstrom}}, or hartree and bohr")
        units = units_from(stated)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ConfigError) as error:
        raise CheckpointError(f"{path}: {str(error).replace('data.units.', '')}") from None
    return units.energy, units.length


def _lines(path: Path) -> list[str]:
    """Lines of a file without comments and empty ones."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        parts = f"{SETTINGS}, {SCALING} and one {WEIGHTS.format(14)} per element"
        raise CheckpointError(f"{path}: not there; a potential of n2p2 consists of {parts}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: not readable ({error})") from None
    stripped = (line.split("#")[0].strip() for line in text.splitlines())
    return [line for line in stripped if line]


def _table(path: Path) -> list[list[float]]:
    """Numbers of every line, up to the first word that is none."""
    rows = []
    for line in _lines(path):
        row = []
        for word in line.split():
            try:
                row.append(float(word))
            except ValueError:
                break
        rows.append(row)
    return rows


def _fill_scale(model: HDNNP, settings: Settings, path: Path) -> None:
    """Set mean, spread and range of every function from ``scaling.data``."""
    rows = {(int(row[0]), int(row[1])): row[2:] for row in _table(path) if len(row) >= 5}
    scale = model.descriptor_scale
    described = functions_of_elements(model)
    for function, column in zip(described.functions, described.columns, strict=True):
        t = model.elements.index(function.center)
        if (t + 1, column + 1) not in rows:
            raise CheckpointError(f"{path}: no line '{t + 1} {column + 1} ...', which belongs to {function}")
        row = rows[t + 1, column + 1]
        offset, width = _offset_and_width(settings, row)
        if not math.isfinite(width) or width == 0.0:
            raise CheckpointError(f"{path}: line '{t + 1} {column + 1}' makes n2p2 divide by zero; remove {function}")
        scale.mean[t, column], scale.spread[t, column] = offset, width
        scale.lowest[t, column], scale.highest[t, column] = row[0], row[1]


def _offset_and_width(settings: Settings, row: Sequence[float]) -> tuple[float, float]:
    """Give m and d, with which n2p2's scaled function is (G - m)/d; ``row`` is min, max, mean[, sigma]."""
    scales, centers = ("scale_symmetry_functions" in settings.words, "center_symmetry_functions" in settings.words)
    low, high, mean = row[0], row[1], row[2]
    if scales:
        width = high - low
    elif centers:
        return mean, 1.0
    elif "scale_symmetry_functions_sigma" in settings.words:
        if len(row) < 4:
            raise settings.error("scale_symmetry_functions_sigma asks for a sixth column in scaling.data")
        width = row[3]
    else:
        return 0.0, 1.0
    target = settings.number("scale_min_short", 0.0), settings.number("scale_max_short", 1.0)
    if target[0] == target[1]:
        raise settings.error("scale_min_short and scale_max_short must differ")
    width /= target[1] - target[0]
    return (low if scales and not centers else mean) - target[0] * width, width


def _fill_network(model: HDNNP, t: int, settings: Settings, path: Path) -> float:
    """Set the weights of one element's network; the constant of its last layer, in n2p2's energy unit."""
    n_inputs = functions_of_elements(model).n_of_element[t]
    sizes = [n_inputs, *settings.hidden, 1]
    values = torch.tensor([row[0] for row in _table(path) if row], dtype=torch.float64)
    expected = sum((n + 1) * m for n, m in pairwise(sizes))
    if len(values) != expected:
        shape = "-".join(map(str, sizes))
        raise CheckpointError(f"{path}: {len(values)} weights, but a network {shape} has {expected}")
    layers = dense_layers(model, t)
    before = Activation("")
    last_bias = 0.0
    for k, (n, m) in enumerate(pairwise(sizes)):
        weight, bias, values = values[: n * m].reshape(n, m).T, values[n * m : (n + 1) * m], values[(n + 1) * m :]
        after = settings.activations[k] if k < len(settings.hidden) else Activation("")
        weight, bias = _in_our_terms(weight, bias, before, after, n if settings.normalizes_nodes else 1)
        with torch.no_grad():
            layers[k].weight.zero_()
            layers[k].weight[:, :n] = weight
            if layers[k].bias is not None:
                layers[k].bias.copy_(bias)
            else:
                last_bias = float(bias[0])
        before = after
    return last_bias


def functions_of_elements(model: HDNNP) -> DescriptorSet:
    """The functions of a model, as n2p2 has them: each of one center.

    Raises:
        CheckpointError: they are of every center.
    """
    if isinstance(model.descriptor_set, DescriptorSet):
        return model.descriptor_set
    raise CheckpointError(f"n2p2 has no functions of every center, as '{model.functions[0]}' of this model")


def networks_of_elements(model: HDNNP) -> nn.ModuleDict:
    """The networks of a model, as n2p2 has them: one for each element, by its symbol.

    Raises:
        CheckpointError: there is one for all.
    """
    if isinstance(model.networks, nn.ModuleDict):
        return model.networks
    raise CheckpointError(f"n2p2 has no network={model.network}: this model has one network for all elements")


def dense_layers(model: HDNNP, t: int) -> list[nn.Linear]:
    """Layers with weights of one element's network."""
    network = networks_of_elements(model)[chemical_symbols[model.elements[t]]]
    return [layer for layer in network.children() if isinstance(layer, nn.Linear)]


def _in_our_terms(
    weight: Tensor, bias: Tensor, before: Activation, after: Activation, n_normal: int
) -> tuple[Tensor, Tensor]:
    """One layer of n2p2 between two activations of n2p2, as a layer between ours."""
    bias = (bias + before.offset * weight.sum(1)) * after.inner / n_normal
    return weight * (before.outer * after.inner / n_normal), bias


def _set_reference(model: HDNNP, t: int, settings: Settings, last_bias: float) -> None:
    """Set the energy of the isolated atom, which n2p2 composes of its network, ``atom_energy`` and ``mean_energy``."""
    z = model.elements[t]
    network = networks_of_elements(model)[chemical_symbols[z]]
    isolated = float(network(model.descriptor_scale.of_isolated_atoms()[t : t + 1]).detach()[0, 0])
    energy = settings.atom_energy(z) + settings.number("mean_energy", 0.0)
    energy += (isolated + last_bias) / settings.number("conv_energy", 1.0)
    model.energy_scale.reference_energies[t] = energy * settings.energy
