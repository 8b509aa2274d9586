"""The golden numbers (see `goldens`) of networks and of training.

Networks take two steps of SGD from a seed. AdamW's first steps would be the signs of gradients, which rounding decides where one is nearly zero.
"""

import functools
from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from goldens import Numbers, golden, heat, picture
from shades import Shades

from lib.data.canvas import Square
from lib.models import baselines, cam, saliency_baselines, successors, zoomed
from lib.models import sampler as layer
from lib.models.backbones import alexnet_regressor, saliency_network_resnet18
from lib.models.carry import unzoom
from lib.models.dtram import ends, look_again
from lib.models.emlnet import Decoder, Encoder, SmallEncoder
from lib.models.itracker import ITracker, ITrackerOnFrames
from lib.models.mrcnn import MrCNN
from lib.models.mrcnn_inference import ScrambledAxes
from lib.models.network import RowNetwork, flops
from lib.tables import proposal as proposals
from lib.tables import unzoomed as dense
from lib.tables.salicon import encoder
from lib.training.checkpoint import seed_everything
from lib.training.loop import Recipe, Trainer, learning_rate
from lib.training.progress import Progress

CPU = torch.device("cpu")


# --- networks -----------------------------------------------------------------------------------------------------------


def two_steps(build: Callable[[], RowNetwork], batch: dict[str, Tensor], *, lr: float = 0.02) -> RowNetwork:
    """`build()` with a seed, and two steps of SGD towards fixed targets."""
    seed_everything(3)
    model = build().train()
    chosen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(chosen, lr=lr)
    for progress in (0.0, 0.5):
        model.at(progress)
        optimiser.zero_grad()
        output = model(*(batch[name] for name in model.inputs))
        target = torch.linspace(0, 1, output.numel(), dtype=torch.float64).view_as(output).to(output.dtype)
        (output - target).square().mean().backward()
        nn.utils.clip_grad_norm_(chosen, 1.0)
        optimiser.step()
        model.after_step()
    return model.eval()


def looks(model: RowNetwork, batch: dict[str, Tensor]) -> Numbers:
    """What a trained network of a zoomed row gives, and where it looked: how far the grid is from the uniform one."""
    seed_everything(4)
    with torch.no_grad():
        output, maps = model(*(batch[name] for name in model.inputs), return_maps=True)
    moved = maps.grid - layer.identity_grid(tuple(maps.grid.shape[1:3]), like=maps.grid)
    return {"output": output} | ({"moved": moved} if moved.abs().max() > 1e-6 else {}) | (
        {"saliency": maps.saliency} if maps.saliency is not None else {})


def batch_of(image: Tensor, view_size: int = 32) -> dict[str, Tensor]:
    """image: float. Bytes would be resized as bytes, and rounded to grey levels, which another processor may do otherwise."""
    return {"image": image, "view": layer.low_resolution(image, view_size), "annotation": heat()}


def of_rows(**builds: Callable[[], RowNetwork]) -> Numbers:
    """Computed in double. Weights of a network with batch norms are the same bits everywhere, see `same_bits`."""
    batch = {name: values.double() for name, values in batch_of(picture(80, 96).double() / 255).items()}
    trained = {name: two_steps(lambda build=build: same_bits(build().double()), batch) for name, build in builds.items()}
    return {f"{name} {label}": values for name, model in trained.items() for label, values in looks(model, batch).items()}


def same_bits(model: RowNetwork) -> RowNetwork:
    """A network with batch norms, its weights drawn anew as `torch.rand` in double: the last bits of a seed's usual ones hang on the processor
    (findings/torch_seed_processor.sh), and two steps of training through batch norms make per cents of them."""
    if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        with torch.no_grad():
            for weight in (parameter for parameter in model.parameters() if parameter.dim() > 1):
                weight.copy_((torch.rand(weight.shape, dtype=torch.float64) * 2 - 1) * (3 / weight[0].numel()) ** 0.5)
    return model


SMALL = {"task": "small_alexnet", "outputs": 2, "task_size": 32}
LOOKING = {**SMALL, "trunk": "small", "view_size": 32}


@golden("layer")
def _layer() -> dict:
    saliency, image = torch.cat([heat(), heat().roll((12, -8), (2, 3))]), picture(90, 120)  # near the border, too: there a grid may leave the image
    grids = {f"{padding}{' clamped' * clamp}": layer.saliency_grid(saliency, sigma=layer.RELEASED_SIGMA, padding=padding, clamp=clamp)
             for padding in ("replicate", "reflect") for clamp in (False, True)}
    grid = layer.resize_grid(grids["replicate"][:2], 24)
    seed_everything(1)
    found = {f"grid {name}": one for name, one in grids.items()}
    found |= {"uint8": layer.resample(image, grid), "large uint8": layer.resample(picture(200, 200), grid),
              "float": layer.resample(image / 255, grid), "oversample": layer.resample(image, grid, oversample=2),
              "blur": torch.cat([layer.random_blur(image / 255).mean((2, 3)) - layer.random_blur(image / 255)[..., 7, 8] for _ in range(3)])}
    zoom = layer.SaliencyZoom(small_trunk(), 24, 32).eval()
    legacy = layer.SaliencyZoom(small_trunk(), 24, 32, legacy=True).eval()
    for name, one in {"zoom": zoom, "legacy": legacy}.items():
        found |= {f"{name} grid": one(image).grid, f"{name} saliency": one(image).saliency}
    return found


def small_trunk() -> nn.Module:
    seed_everything(2)
    return nn.Sequential(nn.Conv2d(3, 4, 5, 4), nn.Tanh())


@golden("grids", on=("layer", "backbones", "views"))
def _grids() -> dict:
    saliency = torch.cat([heat(), heat().roll((12, -8), (2, 3))])
    found = {f"grid {name}": grid(saliency) for name, grid in successors.ALL.items()}
    fixed = successors.DataSetMap((9, 11))
    fixed.learn(torch.tensor([[10.0, 20, 30, 25], [float("nan"), 0, 0, 0], [40, 5, 20, 60]]), 96)
    rows = {f"learned {name}": functools.partial(successors.learned, grid=name, **LOOKING) for name in ("separable", "marginal", "cells")}
    rows |= {"fovea": functools.partial(successors.fovea, **LOOKING), "lzu": functools.partial(successors.lzu, **SMALL),
             "told": functools.partial(successors.told, grid="marginal", power=0.8, **SMALL)}
    return found | {"data set": fixed.map} | of_rows(**rows)


@golden("unzoom", on=("layer", "backbones", "emlnet", "views"))
def _unzoom() -> dict:
    grid = layer.resize_grid(layer.saliency_grid(heat(), sigma=layer.RELEASED_SIGMA), 24)
    back, shown = unzoom(picture(24, 24) / 255, grid, (40, 50))
    found = {"maps": back, "shown": shown}
    batch = {"image": picture(144, 192), "view": layer.low_resolution(picture(144, 192) / 255, (36, 48)), "density": heat(36, 48)[:, 0]}
    options = {"family": "small", "size": (72, 96)}
    for name, build in {"sampler": functools.partial(dense.sampler, **options, trunk="small", view_size=(36, 48)),
                        "oracle": functools.partial(dense.oracle, **options)}.items():
        model = two_steps(build, batch)
        found[name] = model(*(batch[part] for part in model.inputs))
    left_zoomed = dense.not_unzoomed(two_steps(functools.partial(dense.oracle, **options), batch))
    return found | {"not unzoomed": left_zoomed(batch["image"], batch["density"])}


@golden("cost", on=("layer", "backbones", "emlnet", "unzoom"))
def _cost() -> dict:
    equal = dense.same_cost(family="small", trunk="small", size=(72, 96), view_size=(36, 48))
    return {"size": list(equal.model.sampler.task_size), "operations": [flops(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 9))]}


@golden("dtram", on=("layer", "backbones", "cam", "views"))
def _dtram() -> dict:
    batch = batch_of(picture(80, 96) / 255)
    model = two_steps(functools.partial(look_again, **SMALL | {"task": "small_gap"}), batch)
    looks = model.sampler.looks(batch["image"], batch["view"])
    return {"stop": torch.stack([look.stop.sum() for look in looks]), "state": looks[-1].state, "grid": looks[1].sampled.grid,
            "answer": model(batch["image"], batch["view"]), "ends": ends([torch.tensor([0.2, 0.9]), torch.tensor([0.5, 0.5]), torch.ones(2)])}


@golden("rivals", on=("layer", "backbones", "views"))
def _rivals() -> dict:
    return of_rows(**{build.__name__: functools.partial(build, **LOOKING) for build in (zoomed.stn_affine, zoomed.stn_tps, zoomed.grid_estimator)},
                   oracle=functools.partial(zoomed.oracle, **SMALL), points=functools.partial(zoomed.plain, **SMALL, antialias=False))


@golden("deformable", on=("layer", "backbones", "views"))
def _deformable() -> dict:
    return of_rows(deformable=functools.partial(zoomed.deformable, **SMALL), one=functools.partial(zoomed.deformable, **SMALL, count=1))


@golden("cam", on=("layer", "backbones", "views"))
def _cam() -> dict:
    plain = two_steps(functools.partial(zoomed.plain, **SMALL | {"task": "small_gap"}), batch_of(picture(80, 96) / 255))
    boxes = [cam.cam_box(each[0] / each.max()) for each in heat()]
    return looks(zoomed.cam(plain).eval(), batch_of(picture(80, 96) / 255)) | {"box": boxes, "square": [cam.square(box) for box in boxes]}


@golden("backbones", on=("layer", "views"))
def _backbones() -> dict:
    small = ("small_alexnet", "small_gap", "small_inception", "small_classifier", "scratch_resnet18")
    found = of_rows(**{task: functools.partial(zoomed.plain, **SMALL | {"task": task, "task_size": 64}) for task in small},
                    **{f"sampler_{layers}": functools.partial(zoomed.sampler, **LOOKING, layers=layers) for layers in zoomed.CUT})
    seed_everything(5)
    image = picture(64, 64) / 255
    found |= {f"trunk {layers}": saliency_network_resnet18(layers).eval()(image) for layers in (6, 10, 14)}
    found["alexnet"] = alexnet_regressor(2).eval()(picture(227, 227, 1) / 255)
    equal = zoomed.same_cost(**LOOKING | {"task": "small_gap", "task_size": 64}, canvas=Square(160, "squash"))
    return found | {"same cost": list(equal.sampler.task_size)}


@golden("itracker")
def _itracker() -> dict:
    boxes = {"face": [[10, 12, 40, 44], [-6, 3, 50, 50]], "left_eye": [[30, 20, 9, 9], [25, 18, 12, 8]],
             "right_eye": [[14, 20, 9, 9], [5, 18, 12, 8]], "face_grid": [[5, 6, 9, 9], [1, 2, 12, 12]]}
    batch = {"image": picture(80, 96)} | {name: torch.tensor(box).float() for name, box in boxes.items()}
    model = two_steps(lambda: ITrackerOnFrames(crop_size=24, small=True), batch)
    seed_everything(6)
    crop, full = picture(224, 224, 1) / 255, ITracker().eval()
    return {"frames": model(*(batch[name] for name in model.inputs)), "paper": full(crop, crop.flip(3), crop.flip(2), torch.arange(625.0)[None] % 2)}


@golden("baselines")
def _baselines() -> dict:
    task = SimpleNamespace(columns={"train": {"target": torch.arange(12.0).view(6, 2), "tablet": torch.tensor([0, 1, 0, 0, 1, 1])}})
    mean = baselines.TrainMean(outputs=2, group="tablet", groups=3)
    mean.prepare(task)
    maps = heat()[:, 0]
    released = saliency_baselines.Released(saliency_baselines.FromBatch("density"))
    return {"means": mean(torch.arange(3)), "blurred": baselines.Featureless.blurred(picture(30, 40)),
            "constant": saliency_baselines.ConstantMap()(maps), "ceiling": saliency_baselines.Ceiling()(maps, maps.flip(2)),
            "released": released(maps), "as png": saliency_baselines.as_png(maps[0].numpy(), 2)}


@golden("emlnet")
def _emlnet() -> dict:
    view = {"view": picture(64, 96)}
    a, b = (two_steps(functools.partial(encoder, family="small", which=which), view) for which in "ab")
    seed_everything(7)
    found = {"a": a(view["view"]), "b": b(view["view"]), "readouts": torch.cat([one.flatten() for one in a.readouts(view["view"])]),
             "paper": Encoder().eval()(view["view"]), "options": SmallEncoder(upsampling="bilinear", normalize=True).eval()(view["view"])}
    return found | {"decoder": two_steps(lambda: Decoder(a, b), view)(view["view"])}


@golden("mrcnn")
def _mrcnn() -> dict:
    crops = {f"view_{side}": picture(48, 48) for side in (400, 250, 150)}
    squares = [picture(side, side, 1) for side in (400, 250, 150)]
    small, found = {"widths": (4, 6, 8), "hidden": 16}, {}
    for name, options in {"three": {}, "two": {"squares": (400, 150)}, "shared": {"share_streams": True}, "blur": {"blur": True}}.items():
        model = two_steps(functools.partial(MrCNN, **small, **options), crops, lr=0.2)
        found[f"{name} crops"] = model(*(crops[each] for each in model.inputs))
        found |= {f"{name} weight": model.streams[0].conv1.weight}
        if name == "three":
            with torch.no_grad():
                found |= {"squares": model(*squares), "scrambled": ScrambledAxes(model, step=24)(*squares)}
    return found


@golden("proposal", on=("backbones", "views"))
def _proposal() -> dict:
    batch = {"image": picture(96, 96), "coverage": torch.tensor([[0.1, 0.9, 0, 0.9, 0.2], [0.0, 0, 0.4, 0, 0.3]])}
    known, sizes = {"task": "small_classifier", "crop_size": 64}, {"sizes": (16, 24, 40, 64), "norm": "group"}
    builds = {f"size {size}": functools.partial(proposals.proposal, **known, **sizes, size=size) for size in range(4)}
    builds |= {"hard": functools.partial(proposals.proposal, **known, **sizes, choice="hard"),
               "cooled": functools.partial(proposals.proposal, **known, **sizes, temperature=2.0, final_temperature=0.2, views=6),
               "released": functools.partial(proposals.proposal, **known, **sizes, normalised=False, evaluation="sample"),
               **{choice: functools.partial(proposals.fixed, **known, choice=choice) for choice in ("full", "centre", "random", "mean")}}
    found = {}
    for name, build in builds.items():
        model = two_steps(build, batch)
        seed_everything(8)
        output, maps = model(*(batch[part] for part in model.inputs), return_maps=True)
        found |= {f"{name} output": output, f"{name} weights": maps.weights}
    best = proposals.reevaluated(two_steps(builds["size 1"], batch), evaluation="argmax")
    shown, bound = (bound(two_steps(builds["full"], batch), **known).eval() for bound in (proposals.shown_crop, proposals.any_crop))
    return found | {"argmax": best(batch["image"]), "shown": shown(batch["image"], batch["coverage"]), "any": bound(batch["image"])}


# --- training -----------------------------------------------------------------------------------------------------------


class Toy(RowNetwork):
    """As small as a network can be, with every hook used."""

    def __init__(self):
        super().__init__()
        self.sampler, self.task_network, self.warmth = nn.Conv2d(3, 4, 5, 3), nn.Linear(4, 3), 1.0

    def at(self, progress: float) -> None:
        self.warmth = 1 + progress

    def blur_input(self, on: bool) -> None:
        self.soft = on

    def forward(self, image: Tensor) -> Tensor:
        features = torch.tanh(self.sampler(image * (0.5 if self.soft else 1))).mean((2, 3))
        return self.task_network(nn.functional.dropout(features, 0.1, self.training)) * self.warmth


RECIPES = {
    "usual": {}, "clipped": {"clip_norm": 0.5, "schedule": "wsd", "rates": (("sampler.", 0.3),)}, "blurred": {"blur": 0.4, "schedule": "cosine"},
    "sgd": {"optimiser": "sgd", "momentum_end": 0.99, "schedule": "step", "step_epochs": 1},
    "best": {"optimiser": "sgd", "lr": 0.3, "keep_best": True, "patience": 1, "schedule": "constant"}}


@golden("training")
def _training() -> dict:
    found = {}
    for name, options in RECIPES.items():
        recipe = Recipe(**{"epochs": 3, "batch_size": 8, "optimiser": "adamw", "lr": 0.02, **options})
        seed_everything(0)
        trainer = Trainer(Toy(), Shades(side=16), recipe, seed=0, device=CPU)
        history = trainer.run(checkpoint=None, progress=Progress(quiet=True), label=name)
        found |= {f"{name} history": [value for epoch in history for value in epoch.values()], f"{name} weights": trainer.model.task_network.weight}
    for schedule in ("one_cycle", "wsd", "cosine", "step", "constant"):
        recipe = Recipe(epochs=60, batch_size=8, schedule=schedule)
        found[f"rate {schedule}"] = [learning_rate(recipe, i / 12) for i in range(13)]
    usual = Recipe(epochs=1, batch_size=1)
    return found | {"defaults": [usual.lr, usual.weight_decay, usual.momentum, usual.step_epochs]}
