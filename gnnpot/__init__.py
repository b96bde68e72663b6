"""gnnpot: train, benchmark and run interatomic potentials.

HDNNP, SchNet and GNNFF stand behind one interface. Importing gnnpot starts nothing and loads nothing heavy: each
public name loads what it needs at first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from gnnpot._version import __version__

if TYPE_CHECKING:
    from gnnpot.apps.agreement import response_disagreement
    from gnnpot.apps.analyze import analyze
    from gnnpot.apps.benchmark import benchmark
    from gnnpot.apps.calculator import Calculator
    from gnnpot.apps.check import check
    from gnnpot.apps.data_check import check_data
    from gnnpot.apps.data_files import convert_data, import_data, split_data
    from gnnpot.apps.evaluate import evaluate
    from gnnpot.apps.info import info
    from gnnpot.apps.labeling import label_data
    from gnnpot.apps.md import md
    from gnnpot.apps.phonon import phonon
    from gnnpot.apps.relax import relax
    from gnnpot.data.frame_store import FrameStore
    from gnnpot.data.graph import AtomicGraph
    from gnnpot.data.readers import read
    from gnnpot.data.unwrapping import unwrap
    from gnnpot.models.n2p2_export import export_n2p2
    from gnnpot.models.potential import Potential
    from gnnpot.models.prediction import predict
    from gnnpot.models.properties import derive
    from gnnpot.models.store import load, save
    from gnnpot.training.finetune import finetune
    from gnnpot.training.fit import fit

PUBLIC = {
    "AtomicGraph": "gnnpot.data.graph",
    "Calculator": "gnnpot.apps.calculator",
    "FrameStore": "gnnpot.data.frame_store",
    "Potential": "gnnpot.models.potential",
    "analyze": "gnnpot.apps.analyze",
    "benchmark": "gnnpot.apps.benchmark",
    "check": "gnnpot.apps.check",
    "check_data": "gnnpot.apps.data_check",
    "convert_data": "gnnpot.apps.data_files",
    "derive": "gnnpot.models.properties",
    "evaluate": "gnnpot.apps.evaluate",
    "export_n2p2": "gnnpot.models.n2p2_export",
    "finetune": "gnnpot.training.finetune",
    "fit": "gnnpot.training.fit",
    "import_data": "gnnpot.apps.data_files",
    "info": "gnnpot.apps.info",
    "label_data": "gnnpot.apps.labeling",
    "load": "gnnpot.models.store",
    "md": "gnnpot.apps.md",
    "phonon": "gnnpot.apps.phonon",
    "predict": "gnnpot.models.prediction",
    "read": "gnnpot.data.readers",
    "relax": "gnnpot.apps.relax",
    "response_disagreement": "gnnpot.apps.agreement",
    "save": "gnnpot.models.store",
    "split_data": "gnnpot.apps.data_files",
    "unwrap": "gnnpot.data.unwrapping",
}
"""Where each public name lives."""

__all__ = [
    "AtomicGraph",
    "Calculator",
    "FrameStore",
    "Potential",
    "__version__",
    "analyze",
    "benchmark",
    "check",
    "check_data",
    "convert_data",
    "derive",
    "evaluate",
    "export_n2p2",
    "finetune",
    "fit",
    "import_data",
    "info",
    "label_data",
    "load",
    "md",
    "phonon",
    "predict",
    "read",
    "relax",
    "response_disagreement",
    "save",
    "split_data",
    "unwrap",
]


def __getattr__(name: str) -> Any:
    """Load a public name at first use."""
    if name not in PUBLIC:
        raise AttributeError(f"module 'gnnpot' has no attribute {name!r}")
    return getattr(importlib.import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    """Public names."""
    return sorted(__all__)
