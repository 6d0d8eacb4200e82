"""The one training loop."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence, Sized
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from slowfast.datasets.batch import Batch
from slowfast.datasets.epoch_batches import Part
from slowfast.engine import parallel
from slowfast.engine.batches import BatchPreparation, BatchTransform, batch_size
from slowfast.engine.guard import LossGuard, check_weights
from slowfast.engine.hook import EVENTS, Hook
from slowfast.engine.objective import Objective
from slowfast.engine.optimizer import set_lr
from slowfast.utils import distributed
from slowfast.utils.memory import keep_freed_memory
from slowfast.utils.seed import derived_generator, rng_state, set_rng_state

logger = logging.getLogger(__name__)


def _nowhere(*_: object) -> None:
    """Nothing is left behind by a trainer that does not train."""


class Loader(Iterable[Batch], Sized, Protocol):
    """What the trainer asks of a data loader: batches, and how many.

    When it has ``set_epoch(epoch)``, that is called before every epoch. When it has ``part``,
    ``place`` and ``skip``, an epoch that another run began goes on by them; else batches are loaded
    in vain. ``close()``, when there is one, is called after the training, also after one that
    failed.
    """


class Trainer:
    """Minimise an objective over a loader. Everything else is a hook.

    Args:
        objective: what one batch costs; already on ``device``.
        optimizer: over ``objective.trainable.parameters()``.
        lr_at: epoch, fractional -> learning rate; read before every step.
        loader: yields :class:`Batch`.
        batch_transform: raw batch -> what the objective takes, on the device.
        hooks: meters, evaluation, checkpoints, precise BN, sparsity penalties ...
        clip_grad_norm: L2 norm of all gradients to clip to; ``None`` does not clip.
        clip_grad_value: largest absolute value of a gradient entry; ``None`` does not clip.
        amp_dtype: run the forward pass in bfloat16, or in float16 with loss scaling.
        accumulate_steps: batches per optimiser step. Their losses, means, are weighted by
            batch size, so the gradient is that of the one large batch.
        device: where batches are moved.
        seed: of the batch transform's randomness, with epoch, step and rank.
        guard: looks at the losses; ``None``: stops at the first that is not finite.

    Attributes:
        epoch: being trained, from 0; ``max_epoch`` is where :meth:`fit` stops.
        iteration: batch within the epoch, from 0.
        first_iteration: the one this epoch began with; above 0 where a run resumed within it.
        step: batch since the beginning of training, from 0.
        lr: learning rate of the current step.
        grad_norm: L2 norm before clipping, on the device; ``None`` unless norms are clipped.
        data_seconds: how long the current batch was waited for.
        at_exit: hooks give it what must be done when :meth:`fit` ends, also by an error.
        metrics: of the last evaluation, by name.
        should_stop: a hook sets it to end training after this epoch.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        lr_at: Callable[[float], float],
        loader: Loader,
        *,
        batch_transform: BatchTransform | None = None,
        hooks: Sequence[Hook] = (),
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        amp_dtype: torch.dtype | None = None,
        accumulate_steps: int = 1,
        device: torch.device | str = "cpu",
        seed: int = 0,
        guard: LossGuard | None = None,
    ) -> None:
        if accumulate_steps < 1:
            raise ValueError(f"SOLVER.ACCUMULATE_STEPS is {accumulate_steps}; it must be 1 or more")
        self.objective, self.optimizer = objective, optimizer
        self.lr_at, self.loader, self.hooks = lr_at, loader, list(hooks)
        self.clip_grad_norm, self.clip_grad_value = clip_grad_norm, clip_grad_value
        self.amp_dtype, self.accumulate_steps, self.seed = amp_dtype, accumulate_steps, seed
        self.device = torch.device(device)
        self.prepare = BatchPreparation(device, batch_transform)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=amp_dtype is torch.float16)
        self._guard = guard or LossGuard(1 if self.device.type == "cpu" else 10)
        self._guard.report = self.publish
        self._is_sound = True  # every batch accumulated so far
        self._handlers: dict[str, list[Callable[..., None]]] = {}
        self.epoch = self.max_epoch = self.iteration = self.step = self.first_iteration = 0
        self.at_exit: Callable[..., Any] = _nowhere
        self.lr = float("nan")
        self.grad_norm: Tensor | None = None
        self.data_seconds = 0.0
        self.metrics: dict[str, float] = {}
        self.should_stop = False
        self._group_weights: list[int] = []  # clips of every batch accumulated so far
        self._taken: list[Part] = []  # of this epoch by runs before this one

    def fit(self, max_epoch: int, start_epoch: int = 0) -> None:
        """Train from ``start_epoch`` up to, not including, ``max_epoch``."""
        if not len(self.loader):
            raise ValueError("the training loader has no batch: is TRAIN.BATCH_SIZE larger than "
                             "the training set?")  # fmt: skip
        if self.device.type == "cpu":
            keep_freed_memory()
        self._handlers = {}
        self.max_epoch, self.epoch, self.should_stop = max_epoch, start_epoch, False
        with contextlib.ExitStack() as stack:
            self.at_exit = stack.callback
            if hasattr(self.loader, "close"):
                stack.callback(self.loader.close)
            self.call("before_train")
            for epoch in range(start_epoch, max_epoch):
                if self.should_stop:
                    break
                self.epoch = epoch
                self._train_epoch()
                self.first_iteration, self._taken = 0, []
            self.call("after_train")

    def is_due(self, period: int) -> bool:
        """Whether something done every ``period`` epochs is done after this one.

        Also after the last epoch, as in PySlowFast; never when ``period`` is 0 or less.
        """
        last = self.should_stop or self.epoch + 1 >= self.max_epoch
        return period > 0 and (last or (self.epoch + 1) % period == 0)

    def call(self, event: str, *args: object) -> None:
        """Run ``event`` of every hook that overrides it, in order."""
        if event not in self._handlers:
            assert event in EVENTS, event
            self._handlers[event] = [
                getattr(hook, event)
                for hook in self.hooks
                if getattr(type(hook), event) is not getattr(Hook, event)
            ]
        for handler in self._handlers[event]:
            handler(self, *args)

    def publish(self, stats: dict[str, Any]) -> None:
        """Hand numbers to whoever writes or draws them; ``stats["_type"]`` says which."""
        self.call("on_stats", stats)

    def _train_epoch(self) -> None:
        self.objective.train()
        if hasattr(self.loader, "set_epoch"):
            self.loader.set_epoch(self.epoch)
        self.call("before_epoch")
        self.iteration = self.first_iteration - 1
        began = time.perf_counter()
        for i, batch in enumerate(self._batches(), start=self.first_iteration):
            self.data_seconds = time.perf_counter() - began
            self.iteration, self.step = i, self.epoch * len(self.loader) + i
            self._train_batch(batch)
            began = time.perf_counter()
        self._guard.check()
        check_weights(self.objective.model)
        self.optimizer.zero_grad(set_to_none=True)  # evaluation can use the memory
        self.call("after_epoch")
        self.call("end_epoch")

    def _batches(self) -> Iterable[Batch]:
        """Those of the epoch which are not trained yet."""
        if not self.first_iteration:
            return self.loader
        if hasattr(self.loader, "skip"):
            self.loader.skip(self._taken, self.first_iteration)
            return self.loader
        return islice(self.loader, self.first_iteration, None)

    def _train_batch(self, batch: Batch) -> None:
        total, group = len(self.loader), self.accumulate_steps
        self.objective.epoch = self.epoch + self.iteration / total
        place = self.iteration % group
        is_last = place == group - 1 or self.iteration + 1 == total
        if place == 0:
            self.lr = self.lr_at(self.objective.epoch)
            set_lr(self.optimizer, self.lr)
            self.optimizer.zero_grad(set_to_none=True)
            self._group_weights, self._is_sound = [], True
        size = min(group, total - (self.iteration - place))  # batches of this group
        self._group_weights.append(batch_size(batch))
        batch = self.prepare(batch, self._generator())
        self._guard.before_forward(self.objective)
        with parallel.no_sync(self.objective.trainable, enabled=not is_last):
            with torch.autocast(
                self.device.type, self.amp_dtype, enabled=self.amp_dtype is not None
            ):
                output = self.objective(batch)
            if not self._guard.accept(self.step, self.lr, output.loss, batch):
                self._is_sound = False
                if is_last:
                    self.call("between_steps")
                return
            weight = self._group_weights[-1] / (self._group_weights[0] * size)
            loss = output.loss if weight == 1 else output.loss * weight
            self.scaler.scale(loss).backward()
        if is_last and self._is_sound:
            self._update(size)
            self.call("after_step", batch, output)
        self.call("after_batch", batch, output)
        if is_last:
            self.call("between_steps")

    def _update(self, size: int) -> None:
        """One optimiser step from the gradients of ``size`` batches."""
        self.scaler.unscale_(self.optimizer)
        total = sum(self._group_weights)
        if total != self._group_weights[0] * size:  # batches of unequal size
            factor = self._group_weights[0] * size / total
            torch._foreach_mul_([p.grad for p in self._parameters() if p.grad is not None], factor)
        self.call("after_backward")
        if self.clip_grad_value is not None:
            nn.utils.clip_grad_value_(self._parameters(), self.clip_grad_value)
        if self.clip_grad_norm is not None:
            norm = nn.utils.clip_grad_norm_(self._parameters(), self.clip_grad_norm)
            self.grad_norm = parallel.gather(norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _parameters(self) -> list[nn.Parameter]:
        return [p for g in self.optimizer.param_groups for p in g["params"]]

    def _generator(self) -> torch.Generator | None:
        if self.prepare.transform is None:
            return None
        return derived_generator(self.seed, self.epoch, self.step, distributed.rank())

    def state_dict(self, *, iteration: int = 0) -> dict[str, Any]:
        """What an exact resume needs beyond weights, optimiser and scaler.

        A collective: every process calls it, the main one gets the complete state.

        Args:
            iteration: batches trained of an epoch that is not finished.
        """
        self._guard.check()
        return {
            "step": self.step,
            "taken": self._parts(iteration),
            "skipped_losses": self._guard.skipped,
            "world_size": distributed.world_size(),
            "rng": distributed.gather_objects(rng_state()),
            "metrics": dict(self.metrics),
            "objective": self.objective.private_state(),
            "hooks": {name: hook.state_dict() for name, hook in self._named_hooks().items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave; call it last, it sets the random states."""
        self.step, self.metrics = state["step"], dict(state["metrics"])
        if "taken" not in state:  # written before checkpoints within an epoch said so
            logger.warning("the checkpoint does not say what its epoch trained: it begins anew")
        self._taken = [tuple(part) for part in state.get("taken", [])]
        self.first_iteration = self._place(self._taken)
        self._guard.skipped = state.get("skipped_losses", 0)
        self.objective.load_private_state(state.get("objective", {}))
        for name, hook in self._named_hooks().items():
            if name in state["hooks"]:
                hook.load_state_dict(state["hooks"][name])
            elif hook.state_dict():
                logger.warning("the checkpoint knows no %s hook: it starts afresh", name)
        if state["world_size"] == distributed.world_size():
            set_rng_state(state["rng"][distributed.rank()])
        else:
            logger.warning(
                "resuming on %d processes what %d trained: goes on with other random numbers",
                distributed.world_size(),
                state["world_size"],
            )

    def _parts(self, iteration: int) -> list[Part]:
        """What all runs took of an epoch of which ``iteration`` batches are trained."""
        if not iteration:
            return []
        own = iteration - self.first_iteration
        part = self.loader.part(own) if hasattr(self.loader, "part") else (own, 1, 1)
        return [*self._taken, part]

    def _place(self, taken: list[Part]) -> int:
        """The batch at which this epoch goes on, a multiple of the batches of a step."""
        if not hasattr(self.loader, "place"):
            return sum(part[0] for part in taken)
        place = int(self.loader.place(taken))
        return min(place + -place % self.accumulate_steps, len(self.loader))

    def _named_hooks(self) -> dict[str, Hook]:
        names: dict[str, Hook] = {}
        for hook in self.hooks:
            kind = type(hook).__name__
            count = sum(name.partition(".")[0] == kind for name in names)
            names[f"{kind}.{count}" if count else kind] = hook
        return names
