"""Mr-CNN's weights: the network of a safetensors file that training here left in results/runs/mrcnn.

Such a file holds named tensors and nothing else, so the network's options follow from names and shapes: `widths` from the
convolutions, `hidden` from the fusion layer, whose columns over its rows are the number of streams; one set of convolutions for
several streams is `share_streams`, entries of blurs are `blur`. At which squares a network of one or two streams looks follows from
nothing in the file, and must be said. Dropout and the bound on conv1 play no part in prediction. The constants of the normalisation
are not in the file either: they are taken to be `MrCNN`'s own.

Not read: the checkpoints of the coursework's students (.pth). Their networks differ from copy to copy (a fusion layer or none, shared
layers or not, names with `module.` in front or not), and learned from crops whose normalisation is not known.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from lib.files.weights import read_weights
from lib.models.mrcnn import SQUARES, MrCNN
from lib.models.state_checks import bare_state, check_learned, check_state

MINE = "python -m lib table mrcnn trains such weights, results/runs/mrcnn/*/*.safetensors"
State = Mapping[str, Tensor]


def load_mrcnn(path: str | os.PathLike[str], squares: Sequence[int] | None = None) -> MrCNN:
    """The network whose weights these are, on the CPU, in evaluation mode.

    squares: of its streams, some of 400, 250, 150 in this order; needed where there are fewer than three. FileNotFoundError or
    ValueError, one line, for squares that do not fit, and for a file that is anything but one Mr-CNN, entirely.
    """
    path = Path(path)
    state = _read(path)
    options = _options(state, path)
    options["squares"] = _squares(squares, options.pop("streams"), path)
    with torch.device("meta"):  # shapes that do not fit together may say a network of any size
        _compare(MrCNN(**options).state_dict(), state, path)
    check_learned(state, path)
    model = MrCNN(**options)
    model.load_state_dict(state)
    return model.eval()


def _read(path: Path) -> State:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {MINE}")
    try:
        state = read_weights(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {MINE}, and checkpoints of the coursework's students (.pth) are not read") from None
    state = bare_state(state, path, remedy=MINE)
    check_state(state, path)
    return state


def _options(state: State, path: Path) -> dict:
    """widths, hidden, share_streams and blur of `MrCNN`; and streams, their number."""
    try:
        widths = tuple(state[f"streams.0.conv{i}.weight"].shape[0] for i in (1, 2, 3))
        hidden, features = state["fusion.weight"].shape
        streams, rest = divmod(features, hidden)
    except (KeyError, IndexError, ValueError, ZeroDivisionError):  # an entry that is absent, of no or other axes, or empty
        raise ValueError(f"{path}: no Mr-CNN; missing: streams.0.conv1.weight, fusion.weight and so on; found: {_names(state)}; {MINE}") from None
    if rest or not 1 <= streams <= len(SQUARES) or not min(widths):
        raise ValueError(f"{path}: no Mr-CNN; fusion.weight is {hidden} x {features}, expected once, twice or three times as many columns "
                         f"as rows, and no layer without weights; {MINE}")
    shared = streams > 1 and not any(name.startswith("streams.1.") for name in state)
    return {"streams": streams, "widths": widths, "hidden": hidden, "share_streams": shared,
            "blur": any(name.startswith("blurs.") for name in state)}


def _squares(squares: Sequence[int] | None, streams: int, path: Path) -> tuple[int, ...]:
    """`squares`, or those that the number of streams leaves no choice about."""
    what = f"{path}: a network of {streams} stream{'s' if streams > 1 else ''}"
    if squares is None and streams < len(SQUARES):
        raise ValueError(f"{what}; the file does not say at which squares it looks, give {streams} of 400, 250, 150: "
                         f"--squares {','.join(map(str, (SQUARES[0], SQUARES[-1])[:streams]))}, say")
    squares = SQUARES if squares is None else tuple(squares)
    if len(squares) != streams or squares != tuple(side for side in SQUARES if side in squares):
        raise ValueError(f"{what}, so squares must be {streams} of 400, 250, 150 in this order, got "
                         f"{', '.join(map(str, squares)) or 'none'}; give such squares")
    return squares


def _compare(own: State, given: State, path: Path) -> None:
    """ValueError unless names and shapes agree."""
    missing = [name for name in own if name not in given]
    unexpected = [name for name in given if name not in own]
    reshaped = [name for name in own if name in given and own[name].shape != given[name].shape]
    if missing or unexpected or reshaped:
        raise ValueError(f"{path}: no Mr-CNN; missing: {_names(missing)}; unexpected: {_names(unexpected)}; of another shape: "
                         f"{_names(reshaped)}; {MINE}")


def _names(names) -> str:
    names = list(names)
    return (", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")) or "none"
