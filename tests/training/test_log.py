from pathlib import Path

from gnnpot.report.rundir import read_log
from gnnpot.training.log import TrainingLog


def test_rows_are_truncated_to_an_epoch_and_half_written_ones_dropped(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path / "log.csv", ["energy"])
    log.start()
    for epoch in (1, 2, 3):
        log.add({"epoch": epoch, "step": 10 * epoch, "val_loss": 1.0 / epoch})
    with log.path.open("a") as stream:
        stream.write("4,4")
    log.truncate(epochs=2)
    assert read_log(log.path)["epoch"].tolist() == [1.0, 2.0]
    log.add({"epoch": 3, "step": 30})
    assert read_log(log.path)["step"].tolist() == [10.0, 20.0, 30.0]


def test_a_lost_log_begins_anew(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path / "log.csv", ["forces"])
    log.truncate(epochs=5)
    assert log.path.read_text() == (
        "epoch,step,seconds,learning_rate,train_loss,val_loss,train_forces_mae_mev_per_ang,val_forces_mae_mev_per_ang\n"
    )
