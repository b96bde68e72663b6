"""The virtual environment of the peers, on top of the one that this runs in: same torch, numpy and ase for both."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

PACKAGES = [
    "schnetpack==2.1.1",
    "matscipy==1.3.1",
    "hydra-colorlog==1.2.0",
    "colorlog==6.12.0",
    "torch-ema==0.3",
    "fasteners==0.20",
    "dirsync==2.2.6",
    "tensorboardX==2.6.5",
    "chgnet==0.4.2",
    "nvidia-ml-py3==7.352.0",
]
"""Installed without what they ask for in turn: it is there already, and a pin of theirs must not exchange torch.
DScribe and PyTorch Geometric are among gnnpot's test requirements (``pip install gnnpot[test]``)."""


def peer_python(folder: Path) -> str:
    """Interpreter of the environment in ``folder``; made at the first call."""
    home = folder.expanduser().resolve() / "environment"
    python, done = home / "bin" / "python", home / "complete"
    if done.is_file() and done.read_text() == "\n".join(PACKAGES):
        return str(python)
    if Path(__file__).resolve().parents[2] in home.parents:
        raise SystemExit(f"--peers {folder}: choose a folder outside of this repository")
    venv.create(home, with_pip=True, clear=True)
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    shared = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (Path(own) / "shared.pth").write_text(shared)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", *PACKAGES], check=True, stdout=sys.stderr)
    done.write_text("\n".join(PACKAGES))
    return str(python)
