"""Protects: the released checkpoint's names, shapes and meaning, and the exact pixels and cells that the four inputs hold."""

import pickle
import re

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import roi_align

from lib.models.itracker import ITracker, ITrackerOnFrames, SmallITracker, crop_boxes, face_grid_mask, load_released

TOWER = {"0": (96, 3, 11, 11), "4": (256, 48, 5, 5), "8": (384, 256, 3, 3), "10": (64, 384, 1, 1)}
LINEAR = {"faceModel.fc.0": (128, 9216), "faceModel.fc.2": (64, 128), "gridModel.fc.0": (256, 625),
          "gridModel.fc.2": (128, 256), "eyesFC.0": (128, 18432), "fc.0": (128, 320), "fc.2": (2, 128)}


@pytest.fixture(scope="module")
def itracker() -> ITracker:
    torch.manual_seed(0)
    return ITracker().eval()


def inputs(count: int, size: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    images = [torch.rand(count, 3, size, size, generator=generator) for _ in range(3)]
    return [*images, (torch.rand(count, 625, generator=generator) > 0.7).float()]


def test_names_and_shapes_are_the_released_ones(itracker):
    wanted = {f"{tower}.features.{layer}": shape for tower in ("eyeModel", "faceModel.conv") for layer, shape in TOWER.items()}
    wanted |= LINEAR
    biases = {f"{name}.bias": shape[:1] for name, shape in wanted.items()}
    wanted = {f"{name}.weight": shape for name, shape in wanted.items()} | biases
    assert {name: tuple(value.shape) for name, value in itracker.state_dict().items()} == wanted
    assert sum(parameter.numel() for parameter in itracker.parameters()) == 6_286_274


def test_forward_joins_eyes_face_grid(itracker):
    face, left, right, mask = inputs(1, 224)
    state = itracker.state_dict()

    def linear(x, *names):
        for name in names:
            x = F.relu(F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"]))
        return x

    def tower(x, name):  # written out, with Caffe's LRN
        for layer, options in (("0", {"stride": 4}), ("4", {"padding": 2, "groups": 2}), ("8", {"padding": 1}), ("10", {})):
            x = F.relu(F.conv2d(x, state[f"{name}.{layer}.weight"], state[f"{name}.{layer}.bias"], **options))
            if layer in "04":
                x = F.max_pool2d(x, 3, 2)
                squares = F.pad(x.square(), (0, 0, 0, 0, 2, 2)).unfold(1, 5, 1).sum(-1)
                x = x / (1 + 1e-4 / 5 * squares) ** 0.75
        return x.flatten(1)

    with torch.no_grad():
        eyes = linear(torch.cat((tower(left, "eyeModel.features"), tower(right, "eyeModel.features")), 1), "eyesFC.0")
        faces = linear(tower(face, "faceModel.conv.features"), "faceModel.fc.0", "faceModel.fc.2")
        joined = linear(torch.cat((eyes, faces, linear(mask, "gridModel.fc.0", "gridModel.fc.2")), 1), "fc.0")
        wanted = F.linear(joined, state["fc.2.weight"], state["fc.2.bias"])
        assert torch.allclose(itracker(face, left, right, mask), wanted, atol=1e-5)
        assert torch.allclose(itracker(face, left, right, mask.view(1, 25, 25)), wanted, atol=1e-5)


@pytest.mark.parametrize("build, size", [(SmallITracker, 48), (lambda: SmallITracker(size=24, width=16), 24), (ITracker, 224)],
                         ids=["small", "smaller", "released"])
def test_every_parameter_receives_a_gradient(build, size):
    torch.manual_seed(0)
    network = build()
    network(*inputs(4 if size < 224 else 1, size)).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_small_itracker_learns_and_stays_in_the_unit_square():
    torch.manual_seed(0)
    network, batch, targets = SmallITracker(sigmoid=True), inputs(16, 48), torch.rand(16, 2)
    assert sum(parameter.numel() for parameter in network.parameters()) == 660_898
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    losses = []
    for _ in range(20):
        output = network(*batch)
        loss = (output - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert 0 < output.min() and output.max() < 1
    assert losses[-1] < 0.3 * losses[0], f"{losses[0]:.4f} -> {losses[-1]:.4f}"


def test_bad_inputs_are_refused_in_one_line():
    network, (face, left, right, mask) = SmallITracker(), inputs(2, 48)
    for bad, message in (((face, left[:1], right, mask), "left_eye must be"),
                         ((face, left, right[..., :47], mask), "right_eye must be"),
                         ((face, left, right, mask[:, :600]), "face_grid must be"),
                         ((face.byte(), left, right, mask), "float images"),
                         ((face[:, :1], left, right, mask), "expected images")):
        with pytest.raises(ValueError, match=message) as error:
            network(*bad)
        assert "\n" not in str(error.value)


def test_frames_give_what_prepared_crops_give():
    torch.manual_seed(0)
    network = ITrackerOnFrames(crop_size=24, small=True)
    image = torch.randint(0, 256, (2, 3, 60, 80), dtype=torch.uint8)
    face, left, right = (torch.tensor([[x, 10.0, size, size]] * 2) for x, size in ((8.0, 48.0), (36.0, 12.0), (14.0, 12.0)))
    grid = torch.tensor([[3, 5, 15, 20]] * 2)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    crops = [(crop_boxes(image, boxes, 24) - mean) / std for boxes in (face, left, right)]
    given = network(image, face, left, right, grid.float())
    assert torch.allclose(given, network.network(*crops, face_grid_mask(grid)), atol=1e-6)
    assert 0 < given.min() and given.max() < 1
    batch = {"image": image, "face": face, "left_eye": left, "right_eye": right, "face_grid": grid}
    assert torch.equal(network(*[batch[name] for name in network.inputs]), given)
    with pytest.raises(ValueError, match="224"):
        ITrackerOnFrames(crop_size=64)


# The released checkpoint


@pytest.mark.parametrize("prefix", ["", "module."])
def test_released_checkpoint_loads_with_and_without_prefix(itracker, tmp_path, prefix):
    state = {prefix + name: value for name, value in itracker.state_dict().items()}
    path = tmp_path / "checkpoint.pth.tar"
    checkpoint = {"epoch": 24, "state_dict": state, "best_prec1": torch.tensor(4.51)}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=False)  # the format of its time
    loaded = load_released(path)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in itracker.state_dict().items())


def test_wrong_checkpoints_are_refused_in_one_line(itracker, tmp_path):
    state = itracker.state_dict()
    state["fc.9.weight"] = state.pop("fc.2.weight")
    state["fc.2.bias"] = torch.zeros(3)
    torch.save({"state_dict": state}, tmp_path / "other.pth")
    wanted = "missing: fc.2.weight; unexpected: fc.9.weight; of another shape: fc.2.bias"
    with pytest.raises(ValueError, match=re.escape(wanted)) as error:
        load_released(tmp_path / "other.pth")
    assert "\n" not in str(error.value)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds a list"):
        load_released(tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("<html>File is not allowed to download</html>")
    with pytest.raises(ValueError, match="not a torch file"):
        load_released(tmp_path / "text.pth")
    with pytest.raises(FileNotFoundError):
        load_released(tmp_path / "absent.pth")


class Intruder:
    def __reduce__(self):
        return print, ("executed",)


def test_code_in_a_checkpoint_is_not_executed(tmp_path, capsys):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"state_dict": Intruder()}, protocol=2))
    torch.save({"state_dict": Intruder()}, tmp_path / "evil2.pth")
    for name in ("evil.pth", "evil2.pth"):
        with pytest.raises(ValueError, match="plain tensors"):
            load_released(tmp_path / name)
    assert "executed" not in capsys.readouterr().out


# Crops


def frames(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    image = torch.randint(0, 256, (3, 3, 40, 60), generator=torch.Generator().manual_seed(0))
    return image.to(torch.uint8) if dtype == torch.uint8 else image.to(dtype) / 255


def test_whole_boxes_are_slices_and_means_of_slices():
    image, boxes = frames(), torch.tensor([[0, 0, 16, 16], [11, 7, 16, 16], [44, 24, 16, 16]])
    slices = torch.stack([image[i, :, y:y + 16, x:x + 16] for i, (x, y, _, _) in enumerate(boxes.tolist())])
    assert torch.allclose(crop_boxes(image, boxes, 16, oversample=1), slices)
    assert torch.allclose(crop_boxes(image, boxes, 8, oversample=2), F.avg_pool2d(slices, 2))


def test_agrees_with_roi_align_inside_the_frame():
    image = frames()
    boxes = torch.tensor([[3.3, 4.7, 31.0, 20.5], [20.25, 10.0, 9.5, 13.0], [1.5, 1.5, 50.0, 30.0]], dtype=torch.float64)
    corners = torch.cat((torch.arange(3.0)[:, None], boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), dim=1)
    for oversample in (1, 2, 3):
        wanted = roi_align(image, corners, 12, sampling_ratio=oversample, aligned=True)
        assert torch.allclose(crop_boxes(image, boxes, 12, oversample=oversample), wanted, atol=1e-10)


def test_outside_is_zero_or_the_border():
    image, boxes = frames(), torch.tensor([[-5, -3, 20, 20], [50, 30, 20, 20], [200, 200, 20, 20]])
    padded = {"zero": F.pad(image, (20, 20, 20, 20)), "border": F.pad(image, (20, 20, 20, 20), mode="replicate")}
    for outside, wide in padded.items():
        crop = crop_boxes(image, boxes, 20, oversample=1, outside=outside)
        for i, (x, y) in enumerate(boxes[:2, :2].tolist()):
            assert torch.allclose(crop[i], wide[i, :, y + 20:y + 40, x + 20:x + 40])
    assert not crop_boxes(image, boxes, 20)[2].any()


def test_bytes_give_what_floats_give_and_small_detail_does_not_alias():
    boxes = torch.tensor([[3.3, 4.7, 31.0, 20.5]] * 3)
    given = crop_boxes(frames(torch.uint8), boxes, 12)
    assert given.dtype == torch.float32
    assert torch.allclose(given, crop_boxes(frames(torch.float32), boxes, 12), atol=1e-5)
    stripes = (torch.arange(64) % 2).float().expand(1, 1, 64, 64)  # one pixel wide
    box = torch.tensor([[0.0, 0.0, 64.0, 64.0]])
    assert torch.allclose(crop_boxes(stripes, box, 16, oversample=2), torch.tensor(0.5))


def test_crops_have_gradients():
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(2, 1, 6, 7, dtype=torch.float64, generator=generator, requires_grad=True)
    boxes = torch.tensor([[0.63, 1.21, 3.83, 3.37], [-1.19, 2.33, 5.41, 4.57]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda i, b: crop_boxes(i, b, 3), (image, boxes))


def test_bad_crops_are_refused():
    image = frames()
    for boxes, options, message in ((torch.rand(2, 4), {}, r"boxes \(B, 4\)"), (torch.zeros(3, 4), {}, "width and a height"),
                                    (torch.full((3, 4), float("nan")), {}, "width and a height"),
                                    (torch.ones(3, 4), {"outside": "mirror"}, "outside")):
        with pytest.raises(ValueError, match=message):
            crop_boxes(image, boxes, 8, **options)


# The face grid


def test_face_grid_is_one_based_and_the_port_is_one_cell_off():
    mask = face_grid_mask(torch.tensor([[6, 10, 13, 14], [1, 1, 25, 25]])).view(2, 25, 25)
    assert mask.dtype == torch.float32
    assert mask[0].sum() == 13 * 14 and mask[0, 9:23, 5:18].all()  # row 10 and column 6 are the first
    assert mask[1].all()
    released = face_grid_mask(torch.tensor([[6, 10, 13, 14], [1, 1, 25, 25]]), released=True).view(2, 25, 25)
    assert torch.equal(released[0], mask[0].roll((1, 1), (0, 1)))
    assert released[1].sum() == 24 * 24 and not released[1, 0].any() and not released[1, :, 0].any()


@pytest.mark.parametrize("released", [False, True])
def test_face_grid_against_loops(released):
    """Golden: the MATLAB code's ranges, and the port's comparison, cell by cell."""
    grids = torch.randint(-3, 26, (50, 4), generator=torch.Generator().manual_seed(0))
    grids[:, 2:] = grids[:, 2:].clamp(min=1)
    masks = face_grid_mask(grids, released=released).view(-1, 25, 25)
    for grid, mask in zip(grids.tolist(), masks, strict=True):
        wanted = torch.zeros(25, 25)
        x, y, w, h = grid
        if released:
            for row in range(25):
                for column in range(25):
                    wanted[row, column] = x <= column < x + w and y <= row < y + h
        else:
            clip = [min(25, max(1, edge)) for edge in (x, y, x + w - 1, y + h - 1)]
            wanted[clip[1] - 1:clip[3], clip[0] - 1:clip[2]] = 1
        assert torch.equal(mask, wanted), grid


def test_bad_face_grids_are_refused():
    with pytest.raises(ValueError, match=r"\(B, 4\)"):
        face_grid_mask(torch.zeros(4))
