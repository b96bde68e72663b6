"""`gnnpot data`: each kind from the command line, and what it writes."""

import json
import re

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from gnnpot.apps.data import KINDS, data
from gnnpot.apps.data_check import check_data
from gnnpot.apps.data_files import convert_data, split_data
from gnnpot.apps.labeling import label_data
from gnnpot.cli import main
from gnnpot.data.frame_store import FrameStore
from gnnpot.data.frame_writer import write_frames
from gnnpot.data.labels import attach_labels, labels_of
from gnnpot.data.readers import read
from gnnpot.data.splits import Split
from gnnpot.data.writers import write_extxyz
from gnnpot.errors import ConfigError, DataError


@pytest.fixture
def copper(tmp_path):
    """A file of rattled copper with energies and forces that are nobody's, and materials of two frames each."""
    frames = []
    for k in range(24):
        atoms = bulk("Cu", a=3.6, cubic=True)
        atoms.rattle(0.02 + 0.01 * k, seed=k)
        attach_labels(atoms, {"energy": -1.0 * k, "forces": np.zeros((4, 3)), "stress": np.eye(3) * 1e-3})
        atoms.info["material_id"] = f"mp-{k // 2}"
        frames.append(atoms)
    return write_extxyz(tmp_path / "copper.extxyz", frames)


@pytest.fixture
def store(tmp_path, copper):
    return write_frames(tmp_path / "store", read(copper), {"title": "copper", "energy": "as in the files"})


def test_import_and_check_from_the_command_line(tmp_path, copper, capsys):
    assert main(["data", "kind=import", f"path={copper}", f"output={tmp_path / 'made'}"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"frames +24", text)
    assert re.search(r"unknown +24", text)
    assert "gnnpot fit data.path=" in text
    assert main(["info", str(tmp_path / "made")]) == 0
    assert re.search(r"frames +24", capsys.readouterr().out)
    assert main(["data", "kind=check", f"path={tmp_path / 'made'}"]) == 0
    assert "grouped by material: 12 groups" in capsys.readouterr().out


def test_import_of_a_layout_shows_its_energies(tmp_path, capsys):
    site = {"species": [{"element": "Cu", "occu": 1}], "abc": [0, 0, 0]}
    entry = {"structure": {"lattice": {"matrix": np.eye(3).tolist()}, "sites": [site]}, "energy": -3.5}
    (tmp_path / "matpes.json").write_text(json.dumps([entry | {"functional": "r2SCAN"}]))
    words = [f"path={tmp_path / 'matpes.json'}", f"output={tmp_path / 'made'}"]
    assert main(["data", "kind=import", "format=matpes", *words]) == 0
    text = capsys.readouterr().out
    assert re.search(r"energies +uncorrected", text)
    assert re.search(r"r2SCAN +1", text)
    assert main(["data", "kind=import", "format=matpes", "energy=corrected", *words]) == 1
    assert "energy=uncorrected" in capsys.readouterr().err


def test_labels_of_a_calculator_replace_those_of_the_file(tmp_path, copper):
    output = tmp_path / "taught.extxyz"
    words = ["calculator=ase.calculators.emt.EMT", "arguments={asap_cutoff: true}", "licence=LGPL"]
    assert main(["data", "kind=label", f"path={copper}", f"output={output}", *words]) == 0
    frames = read(output)
    teacher = EMT(asap_cutoff=True)
    for atoms in frames[:3]:
        given = labels_of(atoms)
        atoms.calc = teacher
        assert given["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-5)
        np.testing.assert_allclose(given["forces"], atoms.get_forces(), atol=1e-5)
        assert given["stress"][0, 0] != pytest.approx(1e-3)
        assert atoms.info["label_calculator"] == "ase.calculators.emt.EMT"
        assert atoms.info["label_licence"] == "LGPL"
        assert re.match(r"3\.\d+", str(atoms.info["label_version"]))


def test_labels_go_into_a_store_with_their_provenance(tmp_path, copper):
    made = FrameStore(label_data(copper, tmp_path / "made", "ase.calculators.emt.EMT"))
    assert made.contents.description["label_calculator"] == "ase.calculators.emt.EMT"
    assert made.contents.description["label_licence"] == "not stated"
    assert made[0].info["material_id"] == "mp-0"


def test_a_frame_that_the_calculator_cannot_compute(tmp_path):
    path = write_extxyz(tmp_path / "two.extxyz", [bulk("Cu"), bulk("Si")])
    with pytest.raises(DataError, match=r"two\.extxyz, frame 1: .*EMT fails.*skip_broken=true"):
        label_data(path, tmp_path / "taught.extxyz", "ase.calculators.emt.EMT")
    assert not (tmp_path / "taught.extxyz").exists()
    label_data(path, tmp_path / "taught.extxyz", "ase.calculators.emt.EMT", skip_broken=True)
    assert len(read(tmp_path / "taught.extxyz")) == 1


class Moody(EMT):
    """Counts what it computes; fails, or answers with nothing, where told."""

    def __init__(self, fails_at=None, is_silent=False):
        super().__init__()
        self.n_computed, self.fails_at, self.is_silent = 0, fails_at, is_silent

    def calculate(self, *words, **options):
        super().calculate(*words, **options)
        self.n_computed += 1
        if self.n_computed == self.fails_at:
            raise RuntimeError("not converged")
        if self.is_silent:
            self.results["energy"] = float("nan")


@pytest.mark.parametrize("name", ["taught.extxyz", "taught"])
def test_a_broken_labeling_goes_on(tmp_path, copper, name, capsys):
    output, journal = tmp_path / name, tmp_path / f"{name}.labels.jsonl"
    frames = read(copper)
    with pytest.raises(DataError, match=r"frame 4: .*not converged.*\. 4 labeled frames are kept in .*goes on"):
        label_data(copper, output, Moody(fails_at=5))
    assert journal.is_file() and not output.exists()
    with journal.open("a") as file:
        file.write('{"frame": 4, "struc')
    teacher = Moody()
    label_data(copper, output, teacher)
    assert teacher.n_computed == len(frames) - 4
    assert not journal.exists()
    straight = read(label_data(copper, tmp_path / "straight.extxyz", Moody()))
    taught = read(output) if output.is_file() else list(FrameStore(output))
    for one, other in zip(taught, straight, strict=True):
        assert labels_of(one)["energy"] == pytest.approx(labels_of(other)["energy"], abs=1e-8)
        np.testing.assert_allclose(labels_of(one)["forces"], labels_of(other)["forces"], atol=1e-8)


def test_kept_labels_of_others_are_refused(tmp_path, copper):
    with pytest.raises(DataError, match="1 labeled frames are kept"):
        label_data(copper, tmp_path / "a.extxyz", Moody(fails_at=2))
    with pytest.raises(DataError, match=r"a\.extxyz\.labels\.jsonl holds labels of .*Moody.*delete it to begin anew"):
        label_data(copper, tmp_path / "a.extxyz", "ase.calculators.emt.EMT")
    other = write_extxyz(tmp_path / "other.extxyz", [bulk("Cu", a=3.7)] * 3)
    with pytest.raises(DataError, match=r"of other structures than .*other\.extxyz, frame 0: delete .*anew$"):
        label_data(other, tmp_path / "a.extxyz", Moody())


def test_a_frame_that_failed_before_is_computed_once_more(tmp_path, copper):
    """What was left out, and then computed, stands behind later frames in the journal."""

    class Broken(Moody):
        def calculate(self, *words, **options):
            super().calculate(*words, **options)
            if self.n_computed == self.stops_at:
                raise KeyboardInterrupt

    for fails_at, stops_at in ((3, 8), (None, 5)):
        teacher = Broken(fails_at)
        teacher.stops_at = stops_at
        with pytest.raises(KeyboardInterrupt):
            label_data(copper, tmp_path / "a.extxyz", teacher, skip_broken=True)
    lines = (tmp_path / "a.extxyz.labels.jsonl").read_text().splitlines()[1:]
    assert [json.loads(line)["frame"] for line in lines] == [0, 1, 3, 4, 5, 6, 2, 7, 8, 9]
    last = Broken()
    last.stops_at = None
    assert len(read(label_data(copper, tmp_path / "a.extxyz", last))) == 24
    assert last.n_computed == 24 - 10 + 1


def test_an_answer_that_is_no_number_is_no_label(tmp_path, copper):
    with pytest.raises(DataError, match="gives energy that are no finite numbers; skip_broken=true"):
        label_data(copper, tmp_path / "a.extxyz", Moody(is_silent=True))
    assert list(tmp_path.glob("a.extxyz*")) == []


def test_a_calculator_that_does_not_exist(tmp_path, copper):
    with pytest.raises(ConfigError, match=r"calculator=nowhere\.Nothing cannot be imported"):
        label_data(copper, tmp_path / "a.extxyz", "nowhere.Nothing")
    with pytest.raises(ConfigError, match="kind=label needs calculator="):
        data("label", copper, tmp_path / "a.extxyz")


@pytest.mark.parametrize("name", ["again.extxyz.gz", "again", "input.data"])
def test_conversions_keep_the_labels(tmp_path, store, name):
    written = convert_data(store, tmp_path / "made" / name)
    units = {"energy": "hartree", "length": "bohr"} if name == "input.data" else None
    for found, given in zip(read(written, units=units), FrameStore(store), strict=True):
        np.testing.assert_allclose(found.positions, given.positions, atol=1e-7)
        labels = labels_of(given)
        assert labels_of(found)["energy"] == pytest.approx(labels["energy"], abs=1e-9)
        np.testing.assert_allclose(labels_of(found)["forces"], labels["forces"], atol=1e-7)


def test_n2p2_asks_for_energy_and_forces(tmp_path):
    path = write_extxyz(tmp_path / "bare.extxyz", [bulk("Cu")])
    with pytest.raises(DataError, match=r"has no energy and no forces, which input\.data of n2p2 asks for"):
        convert_data(path, tmp_path / "input.data")
    assert not (tmp_path / "input.data").exists()
    with pytest.raises(DataError, match="extended XYZ is what is written"):
        convert_data(path, tmp_path / "a.cif")


def test_parts_of_a_split_are_whole_materials(tmp_path, copper, store):
    for path, suffix in ((copper, ".extxyz"), (store, "")):
        folder = tmp_path / f"parts{suffix}"
        split = split_data(path, folder, fractions=(0.5, 0.25, 0.25), seed=1)
        sides = [{atoms.info["material_id"] for atoms in read(folder / f"{n}{suffix}")} for n in split.parts]
        assert [len(side) for side in sides] == [6, 3, 3]
        assert len(set.union(*sides)) == 12
        assert Split.load(folder / "split.json", read(path) if suffix else FrameStore(path)).seed == 1
    with pytest.raises(ConfigError, match="holds a split already"):
        split_data(copper, tmp_path / "parts.extxyz")


def test_frames_of_one_functional_alone(tmp_path, store):
    frames = read(store)
    for k, atoms in enumerate(frames):
        atoms.info["functional"] = "GGA+U" if k % 3 else "GGA"
    both = write_frames(tmp_path / "both", frames, {})
    alone = FrameStore(convert_data(both, tmp_path / "alone", only={"functional": "GGA"}))
    assert alone.contents.total("functionals") == {"GGA": 8}
    with pytest.raises(DataError, match=r"no frame is left with functional=PBE; functional: GGA\+U \(16 frames\), GGA"):
        split_data(both, tmp_path / "parts", only={"functional": "PBE"})


def test_splits_from_the_command_line(tmp_path, copper, capsys):
    words = [f"path={copper}", f"output={tmp_path / 'parts'}", "split.fractions=[0.5,0,0.5]", "split.kind=random"]
    assert main(["data", "kind=split", *words]) == 0
    assert not (tmp_path / "parts" / "val.extxyz").exists()
    assert len(read(tmp_path / "parts" / "test.extxyz")) == 12
    assert "random, as asked" in capsys.readouterr().out


def test_what_looks_wrong_is_said(tmp_path):
    frames = [bulk("Cu"), bulk("Cu"), bulk("Si"), bulk("Si", a=1.0)]
    for k, atoms in enumerate(frames[1:]):
        attach_labels(atoms, {"energy": -1.0, "forces": np.full((len(atoms), 3), 100.0 * (k == 1))})
        atoms.info["functional"] = "GGA" if k else "r2SCAN"
    found = " ".join(check_data(write_frames(tmp_path / "odd", frames, {})).warnings)
    for text in ("different functionals: GGA (2 frames)", "forces above 50", "nearer than 0.5", "no label at all"):
        assert text in found
    assert "1 of 4 frames have the geometry of an earlier one" in found
    assert check_data(write_frames(tmp_path / "plain", [frames[2]], {})).coverage.counts["energy"] == 1


def test_missing_and_unknown_keys(tmp_path, copper):
    with pytest.raises(ConfigError, match="did you mean 'import'"):
        data("imports", copper)
    for kind in sorted(KINDS.keys() - {"check"}):
        with pytest.raises(ConfigError, match=f"kind={kind} needs output="):
            data(kind, copper)
    with pytest.raises(ConfigError, match=r"split\.group is unknown; did you mean 'group_by'"):
        data("split", copper, tmp_path / "x", split={"group": "material"})
    with pytest.raises(ConfigError, match="charge= is given where the frames are used"):
        data("import", copper, tmp_path / "x", charge=0.0)
    with pytest.raises(ConfigError, match=r"energy=corrected is for format=mptrj"):
        data("import", copper, tmp_path / "x", energy="corrected")
    with pytest.raises(ConfigError, match="format=mptrj has its own units and names"):
        data("import", copper, tmp_path / "x", format="mptrj", keys={"energy": "e"})
