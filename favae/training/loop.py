"""The training loop: it runs the steps of any task, stops, saves, resumes, validates, selects the best model and logs."""

import logging
import math
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from favae.config.cat import AdamWConfig
from favae.config.favae import FavaeOptimizerConfig
from favae.config.training import TrainingConfig
from favae.runtime import paths
from favae.runtime.early import SIGNALS, noted_signal
from favae.runtime.files import replacing
from favae.runtime.progress import Progress
from favae.training.checkpoint import (
    Checkpoint,
    Damaged,
    load_whole,
    misfit,
    rng_state,
    save_checkpoint,
    save_whole,
    set_rng_state,
    unfit,
    whole_checkpoints,
)
from favae.training.curves import Curves
from favae.training.distributed import Ranks, any_rank, average
from favae.training.task import Task

log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The run was stopped by a signal; its state is saved, and the next start resumes from it."""


class Diverged(ArithmeticError):
    """A loss became NaN or infinite. The last checkpoint is older than that."""


def log_rule(training: TrainingConfig, optimizer: FavaeOptimizerConfig | AdamWConfig, ranks: Ranks) -> None:
    """Log images per step and the learning rate: base rate x images per step over all ranks (official code: x batch x GPUs)."""
    images, world = training.batch_size, ranks.world_size
    shares = f", {images // world} on each of {world} ranks" if world > 1 else ""
    rule = (
        f"{optimizer.base_lr:g} x {images} images" if optimizer.scaling == "linear" else "independent of the batch size"
    )
    log.info("%d images per step%s; learning rate %g (%s)", images, shares, optimizer.learning_rate(images), rule)


@dataclass
class Plan:
    """Lengths of a run in steps."""

    length: int
    validate_every: int
    checkpoint_every: int
    log_every: int

    @classmethod
    def of(cls, config: TrainingConfig, dataset_size: int) -> "Plan":
        """Convert the durations of `config` for a data set of `dataset_size` images. Of a length of 0 nothing is trained."""
        steps = [
            d.in_steps(dataset_size, config.batch_size)
            for d in (config.length, config.validate_every, config.checkpoint_every)
        ]
        if steps[0] < 1 and config.length.amount:
            raise ValueError(f"training.length {config.length} is less than one step of {config.batch_size} images")
        return cls(steps[0], max(steps[1], 1), max(steps[2], 1), config.log_every)


@dataclass
class Result:
    """Result of a finished run."""

    step: int
    best_step: int
    best_objective: float
    metrics: dict[str, float]
    resumed: int
    exported: dict[str, Tensor]
    curves: Curves
    image: Tensor | None = None


@dataclass
class _Pending:
    """Losses of the steps since the last row of the curves, kept on the device, because reading them in each step would
    synchronise it."""

    read: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    unread: list[tuple[int, dict[str, Tensor]]] = field(default_factory=list)

    def fetch(self) -> None:
        """Copy all losses to the host in one transfer. Raises Diverged for the first step with a loss that is not finite."""
        if not self.unread:
            return
        flat = average(torch.stack([v.float() for _, row in self.unread for v in row.values()])).tolist()
        values = iter(flat)
        for step, row in self.unread:
            numbers = {name: next(values) for name in row}
            if not all(map(math.isfinite, numbers.values())):
                shown = ", ".join(f"{n} {v:.4g}" for n, v in numbers.items())
                raise Diverged(f"step {step}: a loss is not finite: {shown}")
            self.read.append((step, numbers))
        self.unread.clear()

    def means(self) -> dict[str, float]:
        """Mean of each loss over the steps that have it (terms may start later), which are then removed."""
        self.fetch()
        columns: dict[str, list[float]] = {}
        for _, row in self.read:
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
        self.read.clear()
        return {name: math.fsum(values) / len(values) for name, values in columns.items()}


class Loop:
    """Trains one task to its end, resuming from the state folder if it has a checkpoint."""

    def __init__(self, task: Task, plan: Plan, state: Path, ranks: Ranks, config: TrainingConfig, title: str) -> None:
        self.task, self.plan, self.state, self.ranks, self.config, self.title = task, plan, state, ranks, config, title
        self.step = self.best_step = self.resumed = self._saved_best = 0
        self.best_objective = math.inf
        self.metrics: dict[str, float] = {}
        self._leave = False
        self._pending = _Pending()
        state.mkdir(parents=True, exist_ok=True)
        self.curves = Curves(state)

    def run(self, batches: Callable[[int], Iterator[Any]]) -> Result:
        """Train. `batches(step)` yields the batches from that step on. Raises Interrupted, Diverged."""
        self._resume()
        if self.ranks.is_main:
            self.curves.cut(self.step)
        progress = Progress(self.title, self.plan.length, self.step)
        previous = {s: signal.signal(s, self._on_signal) for s in SIGNALS}
        if early := noted_signal():
            self._on_signal(early, None)
        try:
            for batch in batches(self.step):
                if self.step >= self.plan.length:
                    break
                losses = self.task.train_step(batch, self.step)
                self.step += 1
                self._pending.unread.append((self.step, losses))
                self._after_step(progress)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            progress.close()
        return self._result()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        again = ""
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            again = " (Ctrl-C again: leave at once, without saving)"
        log.warning("%s: received %s: saving after this step%s", self.title, signal.Signals(number).name, again)
        self._leave = True

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.plan.length

    def _after_step(self, progress: Progress) -> None:
        shown: dict[str, float] = {}
        if self._due(self.plan.log_every):
            shown = self._pending.means()
            if self.ranks.is_main:
                self.curves.add(self.step, {f"train/{name}": value for name, value in shown.items()})
        if self._due(self.plan.validate_every):
            self._validate()
        leave = any_rank(self._leave, self.ranks.device)
        if leave or self._due(self.plan.checkpoint_every):
            self._save()
        progress.advance(1, shown)
        if leave:  # wait until rank 0 has saved: the launcher stops all ranks when the first one exits
            any_rank(leave, self.ranks.device)
        if leave and self.step < self.plan.length:
            raise Interrupted(f"{self.title}: stopped by a signal at step {self.step}; saved; the next start resumes")

    def _validate(self) -> None:
        self.metrics = self.task.validate()
        if self.ranks.is_main and self.metrics:
            self.curves.add(self.step, {f"val/{name}": value for name, value in self.metrics.items()})
        objective = self.metrics.get("objective", math.inf)  # a task without a val split measures nothing
        # Some model is selected, whatever was measured: a run can end.
        if self.config.selection == "last" or objective < self.best_objective or not self.best_step:
            self.best_objective, self.best_step = objective, self.step
            if self.ranks.is_main:
                save_whole(self._best_file(self.step), self.task.exported())
        self._show()

    def _show(self) -> None:
        """Write sample images of the model as it is now, for people who watch. Random numbers stay as they were."""
        random = rng_state()
        image = self.task.sample()
        set_rng_state(random)
        if image is None or not self.ranks.is_main:
            return
        try:
            with replacing(self.state / paths.SAMPLES) as temporary:
                Image.fromarray(image.cpu().numpy()).save(temporary, format="png")
        except OSError as error:  # no image is worth a training
            log.warning("%s: sample images could not be written: %s", self.title, error)

    def _best_file(self, step: int) -> Path:
        return self.state / f"best-{step:09d}.pt"

    def _save(self) -> None:
        self._pending.fetch()  # on every rank, and before saving: a checkpoint never contains a diverged model
        if not self.ranks.is_main:
            return
        save_checkpoint(
            self.state,
            self.step,
            {
                "step": self.step,
                "best_step": self.best_step,
                "best_objective": self.best_objective,
                "resumed": self.resumed,
                "metrics": self.metrics,
                "pending": self._pending.read,
                "modules": {name: module.state_dict() for name, module in self.task.modules.items()},
                "optimizers": {name: optimizer.state_dict() for name, optimizer in self.task.optimizers.items()},
                "rng": rng_state(),
            },
        )
        # Keep the best model of both checkpoints: a killed run may resume from the older one.
        needed = {self._best_file(self._saved_best), self._best_file(self.best_step)}
        for old in set(self.state.glob("best-*.pt")) - needed:
            old.unlink()
        self._saved_best = self.best_step

    def _resume(self) -> None:
        if self.ranks.is_main:
            for left in self.state.glob(".*.tmp"):  # of a process that was killed while it wrote
                left.unlink()
        saved = self._newest()
        if saved is None:
            return
        for name, module in self.task.modules.items():
            module.load_state_dict(saved["modules"][name])
        for name, optimizer in self.task.optimizers.items():
            optimizer.load_state_dict(saved["optimizers"][name])
        set_rng_state(saved["rng"])
        self.step, self.best_step, self.best_objective = saved["step"], saved["best_step"], saved["best_objective"]
        self.metrics, self.resumed, self._saved_best = saved["metrics"], saved["resumed"] + 1, saved["best_step"]
        self._pending.read = [(step, dict(row)) for step, row in saved["pending"]]
        log.info("%s: resuming from step %d of %d", self.title, self.step, self.plan.length)

    def _newest(self) -> Checkpoint | None:
        """The newest checkpoint that this training can resume from.

        One whose best model is gone is taken only where no other is left; the best model is then forgotten.
        """
        reserve: Checkpoint | None = None
        for path, saved in whole_checkpoints(self.state):
            if problem := unfit(saved, self.task.modules, self.task.optimizers):
                log.warning("%s is not of this training (%s); trying the checkpoint before it", path, problem)
            elif problem := self._lost_best(saved):
                log.warning("%s; it is the best model of %s", problem, path.name)
                reserve = reserve or saved
            else:
                return saved
        if reserve is not None:
            log.warning("%s: the best model up to step %d is forgotten", self.title, reserve["step"])
            reserve["best_step"], reserve["best_objective"] = 0, math.inf
        return reserve

    def _lost_best(self, saved: Checkpoint) -> str | None:
        """Why the best model that a checkpoint needs cannot be used; None where it can, or none is needed."""
        if not saved["best_step"]:
            return None
        path = self._best_file(saved["best_step"])
        try:
            best = load_whole(path)
        except Damaged as error:
            return str(error)
        problem = misfit(best, self.task.exported())
        return f"{path} is not of this training ({problem})" if problem else None

    def _result(self) -> Result:
        if not self.best_step:  # forgotten, and no validation came after that
            self._validate()
        best = load_whole(self._best_file(self.best_step))
        return Result(
            self.step,
            self.best_step,
            self.best_objective,
            self.metrics,
            self.resumed,
            best,
            self.curves,
            self.task.sample(),
        )
