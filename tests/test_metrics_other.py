"""Gaze error and top-k accuracy: values by hand, order, ties, and what is refused."""

import math

import numpy as np
import pytest
import torch

from lib.metrics.classification import top_k
from lib.metrics.gaze import dot_error_cm, error_cm

# ---- gaze


def test_error_is_the_euclidean_distance_of_each_sample():
    prediction = np.array([[0, 0], [1, 1], [-2, 3]], dtype=np.float32)
    errors = error_cm(prediction, torch.tensor([[3.0, 4.0], [1.0, 1.0], [-2.0, math.nan]]))
    assert errors.dtype == torch.float64 and errors[:2].tolist() == [5, 0] and errors[2].isnan()
    assert error_cm(torch.zeros(0, 2), torch.zeros(0, 2)).shape == (0,)


def test_dot_error_averages_the_predictions_of_a_dot_first():
    target = [[0.0, 0.0], [5.0, 5.0], [0.0, 0.0], [0.0, 0.0]]
    prediction = [[1.0, 0.0], [5.0, 7.0], [-1.0, 0.0], [0.0, 3.0]]
    errors = dot_error_cm(prediction, target, [7, 3, 7, 7])
    assert errors.tolist() == [2.0, 1.0]  # dots 3 and 7
    assert error_cm(prediction, target).tolist() == [1.0, 2.0, 1.0, 3.0]
    assert dot_error_cm(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0, dtype=int)).shape == (0,)


def test_dot_error_is_the_error_for_one_frame_each_and_at_most_the_mean_error():
    g = torch.Generator().manual_seed(0)
    target = torch.rand(30, 2, generator=g).repeat_interleave(4, dim=0)
    prediction = target + torch.randn(120, 2, generator=g)
    dots = torch.arange(30).repeat_interleave(4)
    torch.testing.assert_close(dot_error_cm(prediction, target, torch.arange(120)), error_cm(prediction, target))
    assert (dot_error_cm(prediction, target, dots) <= error_cm(prediction, target).reshape(30, 4).mean(1) + 1e-12).all()
    order = torch.randperm(120, generator=g)
    torch.testing.assert_close(dot_error_cm(prediction[order], target[order], dots[order]), dot_error_cm(prediction, target, dots))


def test_dot_ids_that_mix_recordings_are_noticed():
    """GazeCapture numbers the dots of each recording from 0: without the recording, two different dots would be averaged."""
    target = [[0.0, 0.0], [5.0, 5.0]]
    with pytest.raises(ValueError, match=r"^targets of dot 0 lie 3.54 cm from their mean: do dot_ids tell recordings apart\?$"):
        dot_error_cm(target, target, [0, 0])
    assert dot_error_cm(target, target, [[10, 0], [11, 0]]).tolist() == [0, 0]
    assert dot_error_cm(target, target, [0, 0], tolerance_cm=math.inf).tolist() == [0]


@pytest.mark.parametrize("missing", [math.nan, math.inf])
def test_a_target_that_is_missing_is_named_and_hides_no_other(missing):
    """One NaN among the targets must not switch the check off for all dots."""
    target = [[0.0, 0.0], [5.0, 5.0], [0.0, missing]]
    for dots, named in (([0, 0, 8], 8), ([[1, 0], [1, 0], [2, 8]], r"\[2, 8\]")):
        with pytest.raises(ValueError, match=f"^1 of 3 targets are NaN or infinite, the first of dot {named}: leave"):
            dot_error_cm([[0.0, 0.0]] * 3, target, dots)
    loose = dot_error_cm([[0.0, 0.0]] * 3, target, [0, 0, 8], tolerance_cm=math.inf)
    assert loose[0] == pytest.approx(math.hypot(2.5, 2.5)) and not torch.isfinite(loose[1])
    predicted = dot_error_cm([[0.0, math.nan], [3.0, 4.0]], [[0.0, 0.0]] * 2, [1, 2])  # a prediction may be
    assert predicted[0].isnan() and predicted[1] == 5


@pytest.mark.parametrize("change, said", [
    *[(dict(tolerance_cm=value), "tolerance_cm must be") for value in (math.nan, -1, "1", None)],
    *[(dict(dot_ids=ids), "dot_ids") for ids in (3, [0, 1, 2], [0.5, 1], [math.nan, 1], ["a", "b"], np.zeros((2, 0)), np.zeros((2, 1, 1)), None)],
])
def test_dot_options_out_of_range_are_errors(change, said):
    with pytest.raises(ValueError, match=said) as error:
        dot_error_cm(**dict(prediction_cm=[[0.0, 0.0]] * 2, target_cm=[[0.0, 0.0]] * 2, dot_ids=[0, 1]) | change)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(3,), (3, 3), (4, 2), (1, 3, 2)])
def test_gaze_shapes(shape):
    with pytest.raises(ValueError, match=r"must be \(N, 2\)|4 predictions, but 3 targets"):
        error_cm(torch.zeros(shape), torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"must be \(N, 2\)|4 predictions, 3 targets"):
        dot_error_cm(torch.zeros(shape), torch.zeros(3, 2), torch.arange(3))


# ---- classification


def test_top_k_agrees_with_torch_topk_without_ties():
    g = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(200, 17, generator=g), torch.randint(17, (200,), generator=g)
    result = top_k(logits, labels, k=(1, 5, 17))
    for k, correct in result.items():
        assert correct.dtype == torch.bool and correct.shape == (200,)
        assert torch.equal(correct, (logits.topk(k).indices == labels[:, None]).any(1))
    assert result[17].all() and list(top_k(logits, labels)) == [1, 5]
    assert torch.equal(top_k(logits.numpy(), labels.numpy())[1], result[1])


def test_top_k_ties_count_against_the_label_in_any_class_order():
    logits = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    for label in range(3):
        result = top_k(logits, torch.tensor([label, label]), k=(1, 2, 3))
        assert [result[k][0].item() for k in (1, 2, 3)] == [False, label < 2, True]
        assert [result[k][1].item() for k in (1, 2, 3)] == [False, False, True]


def test_top_k_nan_is_never_right():
    logits = torch.tensor([[math.nan, 1.0], [math.nan, 1.0], [math.nan, math.nan]])
    result = top_k(logits, torch.tensor([0, 1, 0]), k=(1, 2))
    assert result[1].tolist() == [False, False, False] and result[2].tolist() == [False, True, False]


def test_top_k_refuses_what_makes_no_sense():
    logits, labels = torch.zeros(2, 3), torch.tensor([0, 2])
    for call, message in (
        (lambda: top_k(logits, labels), "k must lie between 1 and the number of classes, 3, got 5"),
        (lambda: top_k(logits, labels, k=(0,)), "k must lie between 1 and the number of classes, 3, got 0"),
        (lambda: top_k(logits, labels, k=1), "k must be a sequence of whole numbers, such as (1, 5), got 1; write (1,)"),
        (lambda: top_k(logits, labels, k=(1.5,)), "k must hold whole numbers, such as (1, 5), got 1.5"),
        (lambda: top_k(logits, labels, k=(True,)), "k must hold whole numbers, such as (1, 5), got True"),
        (lambda: top_k(logits, labels, k="12"), "k must hold whole numbers, such as (1, 5), got '1'"),
        (lambda: top_k(logits, labels + 1, k=(1,)), "labels must lie between 0 and 2, got 1 to 3"),
        (lambda: top_k(logits, labels - 1, k=(1,)), "labels must lie between 0 and 2, got -1 to 1"),
        (lambda: top_k(logits, labels.float(), k=(1,)), "labels must be integers, got torch.float32"),
        (lambda: top_k(logits, labels[:1], k=(1,)), r"logits must be (N, C) and labels (N,), got (2, 3) and (1,)"),
    ):
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value) == message
    assert top_k(logits[:0], labels[:0], k=(1,))[1].shape == (0,)
    assert {type(k) for k in top_k(logits, labels, k=np.array([1, 2]))} == {int}


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64, torch.float16, torch.float8_e4m3fn, torch.uint8])
def test_top_k_takes_every_type_of_number(dtype):
    logits = torch.tensor([[1, 3, 2], [0, 0, 1]])
    assert top_k(logits.to(dtype), [1, 1], k=(1, 2, 3))[1].tolist() == [True, False]
