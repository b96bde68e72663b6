import numpy as np
import pytest

from gnnpot.errors import DataError
from gnnpot.report.metrics import part_metrics
from gnnpot.report.parity import ParityData, load_parity, parity_data, save_parity


def test_what_is_saved_comes_back(tmp_path, parts):
    path = save_parity(tmp_path / "predictions.npz", parts)
    loaded = load_parity(path)
    assert list(loaded) == list(parts)
    for part, data in parts.items():
        assert part_metrics(loaded[part]) == part_metrics(data)
        assert loaded[part].names.tolist() == data.names.tolist()
        assert loaded[part].frames.tolist() == data.frames.tolist()
    assert [entry.name for entry in tmp_path.iterdir()] == ["predictions.npz"]


def test_total_energies_keep_their_digits(tmp_path):
    data = parity_data([{"energy": -123456.7890123}], [{"energy": -123456.789}], [np.array([26])])
    loaded = load_parity(save_parity(tmp_path / "p.npz", {"test": data}))["test"]
    assert loaded.errors("energy")[0] == pytest.approx(1.23e-5, rel=1e-2)


def test_points_leave_out_what_is_unknown():
    labels = [{"energy": 2.0}, {"energy": np.nan}, {}]
    data = parity_data(labels, [{"energy": 4.0}] * 3, [np.array([3, 3])] * 3)
    label, predicted = data.points("energy")
    assert label.tolist() == [1.0] and predicted.tolist() == [2.0]


def test_chosen_structures_bring_their_atoms(parts):
    data = parts["test"].of_structures(np.array([True, False, False, True, False]))
    assert data.n_atoms.tolist() == [3, 3]
    assert data.labels["forces"].shape == (6, 3)
    assert data.labels["stress"].shape == (2, 3, 3)


def test_born_charges_polarization_and_dielectric_tensors_are_compared():
    label = {"born_effective_charges": np.zeros((2, 3, 3)), "dielectric_tensor": np.eye(3), "polarization": np.ones(3)}
    predicted = {name: value + 0.5 for name, value in label.items()}
    metrics = part_metrics(parity_data([label], [predicted], [np.array([3, 8])]))
    assert metrics["born_rmse_e"] == pytest.approx(0.5)
    assert metrics["dielectric_mae_relative"] == pytest.approx(0.5)
    assert metrics["counts"]["n_born"] == 2 and metrics["counts"]["n_dielectric"] == 1
    assert metrics["polarization_rmse_e_ang"] == pytest.approx(0.5)
    assert metrics["counts"]["n_polarization"] == 1
    assert metrics["born_row_rmse_e"] == pytest.approx(0.5 * 3**0.5)
    assert metrics["born_tensor_rmse_e"] == pytest.approx(1.5)


def test_arrays_that_do_not_fit_are_refused(parts):
    good = parts["test"]
    with pytest.raises(DataError, match=r"names has 1 rows"):
        ParityData(good.numbers, good.n_atoms, good.frames, good.names[:1], good.config_types, {}, {})
    with pytest.raises(DataError, match=r"label of energy has shape"):
        ParityData(good.numbers, good.n_atoms, good.frames, good.names, good.config_types, {"energy": np.zeros(2)}, {})


def test_files_that_are_something_else_are_refused(tmp_path):
    path = tmp_path / "predictions.npz"
    for content in (b"", b"not a zip", b"PK\x03\x04 half a zip"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"predictions\.npz cannot be read"):
            load_parity(path)
    np.savez(path, parts=np.array(["test"]), format_version=np.array(99))
    with pytest.raises(DataError, match="format version 99"):
        load_parity(path)


def test_a_pickle_is_not_opened(tmp_path):
    path = tmp_path / "predictions.npz"
    np.savez(path, format_version=np.array(1), parts=np.array(["test", {}], dtype=object))
    with pytest.raises(DataError, match="cannot be read"):
        load_parity(path)


def test_an_error_while_writing_keeps_the_old_file(tmp_path, parts, monkeypatch):
    path = save_parity(tmp_path / "predictions.npz", parts)
    before = path.read_bytes()

    def full_disk(*args: object, **kwargs: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_parity(path, {})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["predictions.npz"]
