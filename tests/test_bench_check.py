"""tests/bench_check.py on records whose answers are known: what it takes for honest and for changed, and what it says of them."""

import numpy as np
import pytest
from bench_check import counterpart, main, neighbour, per_class, plain_for_sampler, several
from test_check import ERRORS, SUBJECTS, TABLET, store, weights

NOISE = np.random.default_rng(5).normal(0, 0.05, (4, 2))


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Four seeds of a plain row and of a sampler that is better by half a centimetre, far beyond their noise."""
    folder = tmp_path_factory.mktemp("reference")
    for seed, (plain, sampler) in enumerate(NOISE):
        store(folder, ERRORS + 1 + plain, seed=seed, weights=weights(seed=seed))
        store(folder, ERRORS + 0.5 + sampler, row="sampler", seed=seed, weights=weights(seed=seed))
    return folder


def lines(text: str) -> dict[str, list[str]]:
    """Experiment -> should, runs, failed and the rest."""
    return {line[:34].strip(): line[34:].split() for line in text.splitlines()[1:] if line.strip()}


def test_honest_runs_pass_and_changed_ones_fail(reference, tmp_path, capsys):
    """A tenth of the rate is judged by its values, though its recipe says that it is another experiment."""
    store(tmp_path / "tenth", ERRORS + 3, seed=0, weights=weights(epochs=1)), store(tmp_path / "honest", ERRORS + 1, seed=9, weights=weights(seed=9))
    code = main([str(reference), "--tenth", str(tmp_path / "tenth"), "--honest", str(tmp_path / "honest")])
    found = lines(capsys.readouterr().out)
    assert code == 0
    assert found["left out"][:3] == ["pass", "4", "0"] and found["halves, 2 seeds"][:3] == ["pass", "4", "0"]
    assert found["plain for sampler"][:3] == ["fail", "4", "4"] and found["a tenth of the rate"][:3] == ["fail", "1", "1"]
    assert found["honest"][:3] == ["pass", "1", "0"]


def test_a_false_alarm_and_a_miss_are_told_by_the_exit_status(reference, tmp_path, capsys):
    store(tmp_path / "far", ERRORS + 9, seed=9, weights=weights(seed=9)), store(tmp_path / "near", ERRORS + 1, seed=1, weights=weights(epochs=1))
    assert main([str(reference), "--honest", str(tmp_path / "far")]) == 1 and main([str(reference), "--tenth", str(tmp_path / "near")]) == 1
    assert lines(capsys.readouterr().out)["a tenth of the rate"][:3] == ["fail", "1", "0"]


def test_one_seed_is_no_reference(tmp_path, capsys):
    store(tmp_path)
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "has two seeds" in capsys.readouterr().err


def test_changes_are_what_they_are_called(reference, tmp_path):
    (rows,) = plain_for_sampler(several(reference, "demo")).values()
    np.testing.assert_array_equal(rows["sampler"][2].values["error_cm"], rows["plain"][2].values["error_cm"])
    assert counterpart("control_sampler", {"control_plain": 0}) == "control_plain" and counterpart("depth_6", {"plain": 0}) == "plain"
    assert counterpart("oracle", {"plain": 0}) is None
    for seed in (0, 1):
        values = {"auc": ERRORS / 10, "auc_judd": ERRORS / 11, "nss": ERRORS, "subject": SUBJECTS, "kl": ERRORS}
        store(tmp_path, table="salicon", row="mse", seed=seed, values=values)
    found = neighbour(several(tmp_path, "demo"), "auc_judd", "auc")
    ((item, *_),) = [list(seeds.values()) for rows in found.values() for seeds in rows.values()]
    np.testing.assert_array_equal(item.values["auc_judd"], ERRORS / 10)
    assert not neighbour(several(tmp_path, "demo"), "kl", "ig")  # no row has both


def test_the_mean_per_class_weighs_classes_alike():
    right, label = TABLET * 1.0, np.repeat([0, 1, 1, 1], 25)
    expected = np.mean([right[label == k].mean() for k in (0, 1)])
    assert per_class({"top1": right, "label": label}).mean() == pytest.approx(expected) and per_class({"top1": right}) is None
