"""Networks as files that run without this repository: `python -m lib export MODEL FILE`.

    FILE.onnx   ONNX, for onnxruntime and what reads that (the optional extra `export`)
    FILE.pt2    `torch.export`, for PyTorch without this code: torch.export.load(FILE).module()

Inputs and outputs are those of the network, pictures uint8 (B, 3, H, W): any number of pictures, and behind a sampler any size. Outputs are logits,
or what else the row's network gives; with `maps` the zoomed picture and its grid, too. Mr-CNN gives logits at 50x50 points, before its sigmoid.

Before a file is there it has run: on random pictures, in other numbers and sizes than it was traced with, it must give what the network
gives here, to `TOLERANCE`. So `low_resolution` of bytes is rounded as on a CPU (`lib.models.sample_bytes.resize_bytes`).
"""

import argparse
import contextlib
import importlib.util
import io
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib import tables
from lib.files import ROOT, for_file, replace_atomically
from lib.files.text import one_line
from lib.models.emlnet import Decoder, EMLEncoder
from lib.models.mrcnn import MrCNN
from lib.models.proposal import CroppedNetwork
from lib.models.sampler import SampledNetwork, SpatialSampler
from lib.predict import TRAINED, emlnet_model, mrcnn_model
from lib.runs.parameters import choose
from lib.training.checkpoint import load_weights

TOLERANCE = 1e-4  # of an output's largest value, or of 1 where that is larger
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
SIDES = (96, 128)  # px, of the pictures that are traced with, where the network takes any

Runner = Callable[[Sequence[Tensor]], list[Tensor]]


class Input(NamedTuple):
    """One input of a network: float in [0, 1] or uint8, (B, *shape); with `free`, height and width are any."""

    name: str
    shape: tuple[int, int, int]
    free: bool = False
    bytes: bool = True

    def draw(self, batch: int, generator: torch.Generator, *, larger: int = 0) -> Tensor:
        """Random values; where the size is free, `larger` by so many px."""
        channels, height, width = self.shape
        size = (batch, channels, height + larger, width + 2 * larger) if self.free else (batch, *self.shape)
        drawn = torch.randint(256, size, dtype=torch.uint8, generator=generator)
        return drawn if self.bytes else drawn / 255

    @property
    def axes(self) -> dict[int, str]:
        """The axes of any length, by name."""
        return {0: "batch"} | ({2: "height", 3: "width"} if self.free else {})


class Exported(NamedTuple):
    """What was written: where, how many bytes, and the largest difference from the network on random pictures."""

    path: Path
    size: int
    difference: float


class WithMaps(nn.Module):
    """A `SampledNetwork` that gives (output, zoomed picture, grid)."""

    def __init__(self, network: SampledNetwork):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output, sampled = self.network(image, return_maps=True)
        return output, sampled.image, sampled.grid


# --- any network --------------------------------------------------------------------------------------------------------


def inputs_of(model: nn.Module) -> tuple[Input, ...]:
    """What a network of this repository takes; ValueError, one line, for one that takes more than pictures."""
    if isinstance(model, MrCNN):
        return tuple(Input(f"view_{side}", (3, side, side)) for side in model.squares)
    if isinstance(model, EMLEncoder | Decoder):
        return (Input("view", (3, *model.view_size)),)
    network = model.network if isinstance(model, WithMaps) else model
    sampler = network if isinstance(network, SpatialSampler) else getattr(network, "sampler", None)
    if isinstance(network, SampledNetwork | SpatialSampler) and sampler.looks_at != "coverage":
        told = () if sampler.looks_at == "view" else (Input(sampler.looks_at, (1, *sampler.view_size), bytes=False),)
        return (Input("image", (3, *SIDES), free=True), *told)
    if isinstance(network, CroppedNetwork) and network.inputs == ("image",):
        return (Input("image", (3, *(max(side, network.sampler.crop_size) for side in SIDES)), free=True),)
    takes = ", ".join(getattr(network, "inputs", ())) or "what is not known"
    raise ValueError(f"{type(network).__name__} takes {takes}: what takes more than pictures is not exported; choose another row")


def export(model: nn.Module, path: str | Path, *, inputs: Sequence[Input] | None = None) -> Exported:
    """Write `model` to `path`, .onnx or .pt2; atomically, and only if what is written gives what the model gives.

    inputs: see `Input`; those of this repository's networks are known. The model is put into evaluation mode. ValueError, one line, for a
    model that cannot be traced, for another suffix, and for a file that would disagree; ImportError where .onnx lacks its packages.

    Example:
        >>> from lib.models.sampler import SaliencySampler
        >>> model = SaliencySampler(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4)), nn.Conv2d(3, 8, 3), 16, 16)
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     written = export(model, f"{folder}/model.pt2")
        ...     restored = torch.export.load(written.path).module()
        >>> restored(torch.zeros(5, 3, 100, 90, dtype=torch.uint8)).shape, written.difference < 1e-4
        (torch.Size([5, 4]), True)
    """
    path = Path(path)
    write = FORMATS.get(path.suffix)
    if write is None:
        raise ValueError(f"{path}: the suffix says the format, give a file that ends in {' or '.join(FORMATS)}")
    check_packages(path)
    inputs = inputs_of(model) if inputs is None else tuple(inputs)
    with warnings.catch_warnings(), _quiet_loggers():
        warnings.simplefilter("ignore")  # about operators and decompositions of torch's own
        content, run = write(traced(model.eval(), inputs), inputs, path)
        difference = largest_difference(model, run, inputs, path)
    replace_atomically(path, lambda temporary: temporary.write_bytes(content))
    return Exported(path, len(content), difference)


def check_packages(path: Path) -> None:
    """ImportError, one line, where writing this file needs packages that are not here."""
    missing = [name for name in PACKAGES if not importlib.util.find_spec(name)]
    if path.suffix == ".onnx" and missing:
        raise ImportError(f"{path}: .onnx needs {', '.join(missing)}: pip install -e '.[export]' in this repository installs them; "
                          ".pt2 needs nothing more")


def traced(model: nn.Module, inputs: Sequence[Input]) -> torch.export.ExportedProgram:
    """The model as one graph, for any number of pictures; ValueError, one line, where it makes none."""
    drawn = tuple(each.draw(2, _generator()) for each in inputs)
    axes = tuple({axis: torch.export.Dim.DYNAMIC for axis in each.axes} for each in inputs)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):  # a graph that fails is printed
            return torch.export.export(model, drawn, dynamic_shapes=(axes,) if isinstance(model, MrCNN) else axes)
    except Exception as error:  # whatever the tracer stumbles over
        raise ValueError(f"{type(model).__name__} cannot be exported: it makes no graph of tensors alone ({type(error).__name__}: "
                         f"{_first_line(error)}); nothing was written, choose another network") from None


def largest_difference(model: nn.Module, run: Runner, inputs: Sequence[Input], path: Path) -> float:
    """Between what the model and the file give for random pictures; ValueError, one line, where that is too much."""
    generator, worst, worst_share = _generator(), 0.0, 0.0
    for batch, larger in ((1, 0), (3, 17)):
        drawn = [each.draw(batch, generator, larger=larger) for each in inputs]
        with torch.no_grad():
            wanted = model(*drawn)
        for ours, theirs in zip(wanted if isinstance(wanted, tuple) else (wanted,), run(drawn), strict=True):
            difference = (ours - theirs).abs().max().item() if ours.shape == theirs.shape else torch.inf
            difference = torch.inf if difference != difference else difference
            worst, worst_share = max(worst, difference), max(worst_share, difference / max(1, ours.abs().max().item()))
    if worst_share > TOLERANCE:
        raise ValueError(f"{path}: it would differ from the network by {worst:.1e}, more than {TOLERANCE:.0e}; "
                         "nothing was written, try the other format")
    return worst


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _first_line(error: BaseException) -> str:
    """What went wrong first, without terminal colours."""
    while error.__cause__ is not None:
        error = error.__cause__
    return re.sub(r"\x1b\[\d*m", "", one_line(error))[:200]


# --- formats ------------------------------------------------------------------------------------------------------------


def _pt2(program: torch.export.ExportedProgram, inputs: Sequence[Input], path: Path) -> tuple[bytes, Runner]:
    buffer = io.BytesIO()
    try:
        torch.export.save(program, buffer)
    except Exception as error:  # arithmetic on sides that torch traces and cannot write
        raise ValueError(f"{path}: torch.export cannot write it ({type(error).__name__}: {_first_line(error)}); nothing was written") from None
    buffer.seek(0)
    network = torch.export.load(buffer).module()

    def run(drawn: Sequence[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            output = network(*drawn)
        return list(output) if isinstance(output, tuple | list) else [output]

    return buffer.getvalue(), run


def _onnx(program: torch.export.ExportedProgram, inputs: Sequence[Input], path: Path) -> tuple[bytes, Runner]:
    import onnxruntime

    names = [each.name for each in inputs]
    try:
        proto = torch.onnx.export(program, dynamo=True, verbose=False, input_names=names, output_names=_outputs(program)).model_proto
    except Exception as error:  # an operator that ONNX or the exporter lacks
        raise ValueError(f"{path}: ONNX cannot say it ({type(error).__name__}: {_first_line(error)}); nothing was written, .pt2 may do") from None
    _name_axes(proto, inputs)
    content = proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(drawn: Sequence[Tensor]) -> list[Tensor]:
        given = {name: tensor.numpy() for name, tensor in zip(names, drawn, strict=True)}
        return [torch.from_numpy(output) for output in session.run(None, given)]

    return content, run


def _outputs(program: torch.export.ExportedProgram) -> list[str]:
    count = len(program.graph_signature.user_outputs)
    return ["output", "zoomed", "grid"][:count] if count in (1, 3) else [f"output_{i}" for i in range(count)]


def _name_axes(proto, inputs: Sequence[Input]) -> None:
    """Call the free axes batch, height and width; the tracer numbers them."""
    named = {}
    for value, each in zip(proto.graph.input, inputs, strict=True):
        dims = value.type.tensor_type.shape.dim
        named |= {dims[axis].dim_param: name for axis, name in each.axes.items()}
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in named:  # writing one would take a fixed side away
                dim.dim_param = named[dim.dim_param]


FORMATS: dict[str, Callable[..., tuple[bytes, Runner]]] = {".onnx": _onnx, ".pt2": _pt2}


@contextlib.contextmanager
def _quiet_loggers() -> Iterator[None]:
    """Without the exporter's own messages: what fails is told in one line, what works needs none."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


# --- the command --------------------------------------------------------------------------------------------------------


def row_model(name: str, *, preset: str = "demo", weights: Path | None = None) -> nn.Module:
    """A row of a table, "TABLE/ROW", with its weights: those at `weights`, else the newest that were trained here, else the repository's.

    ValueError, one line, for a name that is none, a row that is made of others, and where there are no weights.
    """
    table_name, _, row_name = name.partition("/")
    if table_name not in tables.NAMES:
        raise ValueError(f"there is no model {name!r} to export; "
                         f"there are emlnet, mrcnn and TABLE/ROW, inaturalist/sampler say, of {', '.join(tables.NAMES)}")
    table = tables.get(table_name)
    row = table.row(choose(f"row of {table_name}", row_name, [row.name for row in table.rows]))
    chosen = table.presets[choose("preset", preset, table.presets)]
    if row.needs:
        raise ValueError(f"{name} is made of the trained rows {', '.join(row.needs)} and has no weights of its own; export one of those")
    path = weights or (_weights_of(table, row.name, preset) if row.trained else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # ImageNet's weights that cannot be had: the row's own come now
        model = row.build(chosen)
    if path is None:  # a row that nothing is trained for
        return model
    load_weights(path, model, **({"remedy": "give another file as --weights"} if weights else {}))
    print(f"weights: {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}", file=sys.stderr)
    return model


def _weights_of(table, row: str, preset: str) -> Path:
    folder, kept = ROOT / "results" / "runs" / (table.records or table.name), TRAINED / f"{table.name}-twin-{row}.safetensors"
    found = sorted(folder.glob(f"*-{preset}/{row}-seed*.safetensors"), key=lambda path: path.stat().st_mtime)
    if not found and preset == "demo" and kept.is_file():
        return kept
    if not found:
        raise ValueError(f"{table.name}/{row} has no weights of preset {preset} here: "
                         f"python -m lib table {table.name} --preset {preset} --rows {row} trains some, or give --weights FILE")
    return found[-1]


def main(arguments: argparse.Namespace) -> int:
    """Export, and print how well the file agrees and how large it is.

    ValueError, FileNotFoundError or ImportError, one line, before anything is written.
    """
    if arguments.file.suffix not in FORMATS:
        raise ValueError(f"{arguments.file}: the suffix says the format, give a file that ends in {' or '.join(FORMATS)}")
    check_packages(arguments.file)
    for_file(arguments.file, named="FILE")
    models = {"emlnet": emlnet_model, "mrcnn": mrcnn_model}
    kind = arguments.model if arguments.model in models else "a row"
    for option, given, taken in (("--encoder", arguments.encoder, ("emlnet",)), ("--decoder", arguments.decoder, ("emlnet",)),
                                 ("--squares", arguments.squares, ("mrcnn",)), ("--weights", arguments.weights, ("mrcnn", "a row")),
                                 ("--preset", arguments.preset, ("a row",))):
        if given and kind not in taken:
            raise ValueError(f"{option} is an option of {' and of '.join(taken)}, not of {arguments.model}; leave it out")
    if arguments.model in models:
        model = models[arguments.model](arguments)
    else:
        model = row_model(arguments.model, preset=arguments.preset or "demo", weights=arguments.weights)
    if arguments.maps:
        if not isinstance(model, SampledNetwork):
            raise ValueError(f"--maps: {arguments.model} has no sampler, so no zoomed picture; leave the option out")
        model = WithMaps(model)
    written = export(model, arguments.file)
    print(f"{written.path}: {written.size / 1e6:.2f} MB; on random pictures it differs from the network by {written.difference:.1e} at most")
    return 0
