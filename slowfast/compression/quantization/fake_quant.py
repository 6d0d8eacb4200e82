"""Rounding to eight bits in the midst of a float network: what int8 will do, layer by layer.

Every convolution and linear layer reads activations rounded to 0..255 over a range per tensor, has
weights rounded to -127..127 over a range per output channel, and gives activations rounded again,
after the batch norm and the ReLU that exporters fold into it. All else stays in float.

Rounding a weight commutes with folding a batch norm into it: that scales each output channel, and
the channel's range with it. So the weights of the float network are rounded as they are, and an
exported file with folded ones computes the same.

Jacob et al. 2018, https://arxiv.org/abs/1712.05877; gradients pass rounding straight through.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast.models.base import ClipModel, Preds

WEIGHT_MAX = 127
ACTIVATION_MAX = 255
CUT_OFF = 0.05  # share of clips that may reach beyond a range
LAYERS = (nn.Conv2d, nn.Conv3d, nn.Linear)

Range = tuple[float, float]
"""Smallest and largest value of an activation."""


@dataclass(frozen=True)
class Site:
    """What is around a layer.

    Attributes:
        norm: the batch norm right behind it, by name; empty: none.
        relu: a ReLU comes next.
        fed_by: the layer whose (normalised, rectified) output it reads; empty: something else.
    """

    norm: str = ""
    relu: bool = False
    fed_by: str = ""

    def end(self, layer: str) -> str:
        """The module whose output is the layer's."""
        return self.norm or layer


@torch.no_grad()
def find_sites(model: ClipModel, clips: Sequence[Tensor]) -> dict[str, Site]:
    """The layers that can be rounded, in the order they run; found by running the model once.

    Classifiers are not among them: they cost little, and what they give is the result. Nor are
    layers that run several times per clip, whose activations differ from call to call.
    """
    tracer = _Tracer(model)
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        model(clips)
    finally:
        tracer.remove()
        for module, mode in modes:
            module.training = mode
    heads = set(model.classifiers.values())
    names = dict(model.named_modules())
    once = {name for name in tracer.sites if tracer.calls[name] == 1 and names[name] not in heads}
    found = {}
    for name, site in tracer.sites.items():
        if name in once:
            fed_by = site.fed_by if site.fed_by in once else ""
            found[name] = Site(site.norm, site.relu, fed_by)
    return found


class _Tracer:
    """Follows tensors from module to module by their identity.

    A tensor that was written to in between, other than by a ReLU, is another one.
    """

    def __init__(self, model: nn.Module) -> None:
        self.sites: dict[str, Site] = {}
        self.calls: dict[str, int] = {}
        self._made: dict[int, tuple[Tensor, int, str]] = {}  # id -> tensor, version, layer
        self._handles = []
        self._before: list[str] = []
        for name, module in model.named_modules():
            if isinstance(module, (*LAYERS, _BatchNorm, nn.ReLU)):
                before, after = self._hooks(name, module)
                self._handles.append(module.register_forward_pre_hook(before))
                self._handles.append(module.register_forward_hook(after))

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _hooks(self, name: str, module: nn.Module) -> tuple[Any, Any]:
        def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self._before.append(self._maker(inputs[0]))

        def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._note(name, module, self._before.pop(), output)

        return before, after

    def _maker(self, tensor: Tensor) -> str:
        made = self._made.get(id(tensor))
        return made[2] if made is not None and made[1] == tensor._version else ""

    def _note(self, name: str, module: nn.Module, source: str, output: Tensor) -> None:
        if isinstance(module, LAYERS):
            self.calls[name] = self.calls.get(name, 0) + 1
            self.sites[name] = Site(fed_by=source)
            source = name
        elif not source:
            return
        else:
            site = self.sites[source]
            if isinstance(module, nn.ReLU):
                self.sites[source] = Site(site.norm, True, site.fed_by)
            elif site.norm or site.relu:
                return
            else:
                self.sites[source] = Site(name, False, site.fed_by)
        self._made[id(output)] = (output, output._version, source)


def weight_scales(weight: Tensor) -> Tensor:
    """Largest magnitude of every output channel over 127."""
    scales = weight.detach().abs().flatten(1).amax(1) / WEIGHT_MAX
    return scales.clamp(min=torch.finfo(scales.dtype).tiny)


def activation_scale(bounds: Range) -> tuple[float, int]:
    """Step and zero point of 0..255 over a range, which is widened to hold zero."""
    low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
    scale = (high - low) / ACTIVATION_MAX
    if scale < torch.finfo(torch.float32).tiny:
        return 1.0, 0
    return scale, round(-low / scale)


def round_weight(weight: Tensor) -> Tensor:
    """A weight ``(out, ...)`` with 255 values per output channel."""
    scales = weight_scales(weight)
    zeros = torch.zeros(len(scales), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_channel_affine(weight, scales, zeros, 0, -WEIGHT_MAX, WEIGHT_MAX)


def round_activation(x: Tensor, bounds: Range) -> Tensor:
    """An activation with 256 values."""
    scale, zero = activation_scale(bounds)
    rounded = torch.fake_quantize_per_tensor_affine(x.float(), scale, zero, 0, ACTIVATION_MAX)
    return rounded.to(x.dtype)


class _Rounded:
    """Mixed into the class of a layer: its weight reads rounded. Its parameters stay the same."""

    _parameters: dict[str, nn.Parameter]
    rounds = False

    @property
    def weight(self) -> Tensor:
        weight = self._parameters["weight"]
        return round_weight(weight) if self.rounds else weight


class FakeQuantization:
    """Rounds the layers of a model while it is attached, until :meth:`remove`.

    Parameters, buffers and their names stay as they are, so checkpoints are those of the float
    network.

    Args:
        model: changed, in place.
        sites: see :func:`find_sites`.
        ranges: see :meth:`calibrate`, which finds them where they are not given.

    Attributes:
        active: layers that are rounded now; at first all whose ranges are known.
    """

    def __init__(
        self, model: nn.Module, sites: Mapping[str, Site], ranges: Mapping[str, Range] | None = None
    ) -> None:
        self.model, self.sites = model, dict(sites)
        self.ranges: dict[str, Range] = dict(ranges or {})
        self.active: set[str] = set()
        self._observed: dict[str, _Extremes] | None = None
        self._handles = []
        self._classes: dict[str, type[nn.Module]] = {}
        modules = dict(model.named_modules())
        for name, site in self.sites.items():
            layer, end = modules[name], modules[site.end(name)]
            self._classes[name] = type(layer)
            layer.__class__ = type(type(layer).__name__, (_Rounded, type(layer)), {})
            self._handles.append(layer.register_forward_pre_hook(self._reader(name)))
            self._handles.append(end.register_forward_hook(self._writer(name)))
        self.use(self.sites if self.ranges else ())

    def remove(self) -> None:
        """Leave the model as it was."""
        for handle in self._handles:
            handle.remove()
        self.use(())
        for name, kind in self._classes.items():
            self.model.get_submodule(name).__class__ = kind

    def use(self, layers: Collection[str]) -> None:
        """Round these layers and no others."""
        self.active = set(layers)
        for name in self.sites:
            layer = cast(_Rounded, self.model.get_submodule(name))
            layer.rounds = name in self.active

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Sequence[Tensor]]) -> dict[str, Range]:
        """Run clips through the float network and keep the range of every activation.

        The ranges hold whole clips, but for the most extreme in twenty on either side: those would
        widen the steps of all. Means over clips of their extremes, which cut off half of the
        clips, cost 10 to 14 dB of the logits' accuracy in X3D_T and SLOWFAST_T.

        Returns:
            ``"<layer>:in"`` and ``"<layer>:out"`` -> range.
        """
        self.use(())
        self._observed = {}
        modes = [(module, module.training) for module in self.model.modules()]
        try:
            self.model.eval()
            for clips in batches:
                self.model(clips)
        finally:
            for module, mode in modes:
                module.training = mode
            observed, self._observed = self._observed, None
        self.ranges = {key: extremes.range for key, extremes in observed.items()}
        self.use(self.sites)
        return dict(self.ranges)

    def _reader(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], Any]:
        feeder = self.sites[name].fed_by

        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
            x = inputs[0]
            if self._observed is not None:
                if not feeder:
                    self._observe(f"{name}:in", x)
            elif name in self.active and feeder not in self.active:
                return (round_activation(x, self.ranges[input_key(name, self.sites)]), *inputs[1:])
            return None

        return hook

    def _writer(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Any]:
        relu = self.sites[name].relu

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Any:
            if self._observed is not None:
                self._observe(f"{name}:out", output.clamp(min=0) if relu else output)
            elif name in self.active:
                return round_activation(output, self.ranges[f"{name}:out"])
            return None

        return hook

    def _observe(self, key: str, x: Tensor) -> None:
        assert self._observed is not None
        self._observed.setdefault(key, _Extremes()).add(x)


def input_key(name: str, sites: Mapping[str, Site]) -> str:
    """Key of the range of what a layer reads."""
    feeder = sites[name].fed_by
    return f"{feeder}:out" if feeder else f"{name}:in"


class _Extremes:
    """Smallest and largest value of each clip."""

    def __init__(self) -> None:
        self.lows: list[float] = []
        self.highs: list[float] = []

    def add(self, x: Tensor) -> None:
        each = x.flatten(1).float()
        self.lows += each.amin(1).tolist()
        self.highs += each.amax(1).tolist()

    @property
    def range(self) -> Range:
        low, high = np.quantile(self.lows, CUT_OFF), np.quantile(self.highs, 1 - CUT_OFF)
        return float(low), float(high)


@torch.no_grad()
def layer_errors(
    model: ClipModel, fake: FakeQuantization, batches: Sequence[Sequence[Tensor]]
) -> dict[str, float]:
    """What rounding each layer alone does to the logits: squared error over squared logits.

    Args:
        model: that ``fake`` is attached to.
        fake: with ranges; left with the layers active that were.
        batches: clips.
    """
    was, modes = set(fake.active), [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        fake.use(())
        exact = [_flat(model(clips)) for clips in batches]
        power = max(sum(float(x.square().sum()) for x in exact), 1e-30)
        errors = {}
        for name in fake.sites:
            fake.use({name})
            pairs = zip(exact, batches, strict=True)
            off = sum(float((_flat(model(clips)) - x).square().sum()) for x, clips in pairs)
            errors[name] = off / power
    finally:
        fake.use(was)
        for module, mode in modes:
            module.training = mode
    return errors


def _flat(preds: Preds) -> Tensor:
    """Logits of all tasks side by side."""
    return torch.cat(list(preds.values()), 1) if isinstance(preds, dict) else preds
