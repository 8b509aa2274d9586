"""What a network must be to stand in a table: the hooks that training calls, and the name and versions that its results are filed under.

A row is data: a network (a class or function below `declared`) and options. `described` says what a network is as plain values, so that
its results can be found again whatever its function is called and wherever it stands.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from typing import Any

from torch import Tensor, nn, no_grad

PLAIN = (bool, int, float, str, type(None))


class RowNetwork(nn.Module):
    """A network that stands in a table. Every hook does nothing unless a network has a use for it."""

    inputs: tuple[str, ...] = ("image",)  # the parts of a batch that forward takes, in order
    gives_maps = False  # whether forward takes return_maps=True and then gives (output, maps)

    def prepare(self, task) -> None:
        """Once, before training: what the network takes from the training data, a mean for instance."""

    def at(self, progress: float) -> None:
        """Before each step: where training is, 0 to 1. What changes over training, a temperature for instance."""

    def after_step(self) -> None:
        """After each step: a bound on weights, for instance."""

    def blur_input(self, on: bool) -> None:
        """Before each epoch: whether the task network's input is blurred in it ("Learning to Zoom", section 3.3)."""


def flops(model: nn.Module, *inputs: Tensor) -> int:
    """Floating point operations of one call in evaluation mode; the model's mode stays.

    Not those of a process's first call alone: matrices that are made once and kept.
    """
    from torch.utils.flop_counter import FlopCounterMode  # it brings a compiler along

    training = model.training
    with no_grad():
        model.eval()(*inputs)
        with FlopCounterMode(display=False) as counter:
            model(*inputs)
    model.train(training)
    return counter.get_total_flops()


def declared(name: str, *uses: str) -> Callable[[Callable], Callable]:
    """Name a network's class or function for good, and the versions (`lib.versions`) of the code that it is made of.

    The name enters the keys of results, and the function's own does not: it may be renamed and moved.
    """
    def mark(build: Callable) -> Callable:
        build.declared_name, build.uses = name, uses
        return build

    return mark


def uses(build: Callable) -> tuple[str, ...]:
    """The versions that `build` was declared with; ValueError, one line, where it was not."""
    inner = build.func if isinstance(build, functools.partial) else build
    if "uses" not in vars(inner):  # a subclass does not inherit its parent's
        raise ValueError(f"network {_spelt(inner)} is not declared: write @declared(\"its name\", *versions) above it (lib/models/network.py)")
    return inner.uses


def described(build: Callable) -> dict[str, Any]:
    """What `build` is: its declared name, a partial's arguments, the values that a closure holds; plain values only.

    ValueError, one line, for a network that is not declared and for an argument or closure that is not plain.
    """
    if isinstance(build, functools.partial):
        found = described(build.func)
        found |= {"arguments": plain(list(build.args), _spelt(build.func))} if build.args else {}
        return found | {"options": found.get("options", {}) | plain(dict(build.keywords), _spelt(build.func))}
    uses(build)
    captured = _captured(build)
    return {"name": build.declared_name} | ({"closure": plain(dict(sorted(captured.items())), _spelt(build))} if captured else {})


def _captured(build: Callable) -> dict[str, Any]:
    """The values that a function or class holds of the function that made it: in its closure, or as its defaults.

    A default counts where another call may give another one; that of a module's own function is code, which has a version.
    """
    if inspect.isclass(build):
        methods = [method for method in vars(build).values() if inspect.isfunction(method)]
        return {name: value for method in methods for name, value in _captured(method).items() if name != "__class__"}  # that is for super()
    if not inspect.isfunction(build):
        return {}
    made = inspect.signature(build).parameters.values() if "<locals>" in build.__qualname__ else ()
    return inspect.getclosurevars(build).nonlocals | {one.name: one.default for one in made if one.default is not one.empty}


def plain(value: Any, of: str) -> Any:
    """`value` as JSON would have it; a dataclass by its fields, a declared network by its description."""
    if isinstance(value, PLAIN):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {type(value).__name__: plain(asdict(value), of)}
    if isinstance(value, dict):
        return {str(name): plain(inner, of) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, of) for inner in value]
    if callable(value):
        return described(value)
    raise ValueError(f"{of}: {value!r} is no plain value; results cannot be filed under it, give it as numbers or words")


def _spelt(build: Callable) -> str:
    return f"{build.__module__}.{build.__qualname__}"
