"""The callback of Lightning's trainer."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from meden._checks import InputError, check_count, nearest
from meden.integrations._attachment import Attached, Attachment, InModel, check_callback
from meden.integrations._guest import guest
from meden.optim import Regularizer

pl = guest("lightning", "lightning.pytorch", "pytorch_lightning")
_Callback: Any = pl.Callback


class MedenCallback(Attached, _Callback):  # type: ignore[misc]
    """Penalties, noise and diagnosis in a Lightning training, automatic or manual, accumulated or clipped.

    Penalties act at every step of the optimizer as :func:`meden.regularize` has it. All state goes into Lightning's
    checkpoints: a training that goes on by ``ckpt_path`` equals one that was never cut off, strength schedules,
    ``PullTo`` and noise included. ``history`` has a record of each epoch, whose training loss is the one of the
    trainer's own passes; ``findings`` is what stands out in it. Warns at the end of the first epoch if a loss that is
    to be recorded was not logged.

    Args:
        regularizers: which penalties, where and how.
        noise: noise for the module: a number for its dropout, or ``{selector: layer of meden.noise}``.
        diagnose: whether to print at the end what stands out in the curves.
        seed: of all noise of the module.
        optimizer: which of the module's optimizers steps what is penalised, by its position; None if there is one.
        train_loss: name of a logged metric; None is the mean of what ``training_step`` returns, or ``"train_loss"``
            where it returns nothing.
        val_loss: name of a logged metric, without penalties.

    Raises:
        InputError: if an argument is none of these; when a training begins, if the module has several optimizers and
            none was named, or the checkpoint of ``ckpt_path`` was made without this callback, or with other
            regularizers.

    Example:
        >>> from lightning.pytorch import LightningModule, Trainer
        >>> from meden.penalties import L1
        >>> class Net(LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = nn.Linear(2, 1)
        ...     def training_step(self, batch):
        ...         return self.layer(batch).square().mean()
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.1)
        >>> quiet = dict(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
        >>> callback = MedenCallback([Regularizer(L1(10.0))], diagnose=False)
        >>> trainer = Trainer(max_epochs=1, callbacks=[callback], enable_checkpointing=False, **quiet)
        >>> net = Net()
        >>> trainer.fit(net, torch.utils.data.DataLoader(torch.randn(8, 2), batch_size=4))
        >>> net.layer.weight.tolist(), callback.history.column("num_zeros")
        ([[0.0, 0.0]], [2])
    """

    def __init__(
        self,
        regularizers: Sequence[Regularizer] = (),
        *,
        noise: InModel | None = None,
        diagnose: bool = True,
        seed: int = 0,
        optimizer: int | None = None,
        train_loss: str | None = None,
        val_loss: str = "val_loss",
    ) -> None:
        self.attachment = Attachment(regularizers, noise, seed)
        check_callback(diagnose=diagnose, train_loss=train_loss)
        if not isinstance(val_loss, str):
            raise InputError(f"val_loss must be the name of a logged loss, got {val_loss!r}")
        if optimizer is not None:
            check_count("optimizer", optimizer, low=0)
        self.diagnose, self.optimizer, self.train_loss, self.val_loss = diagnose, optimizer, train_loss, val_loss
        self._fits = self._validated = False
        self._told: set[str] = set()
        self._losses: list[Tensor] = []

    @property
    def state_key(self) -> str:
        """Name of the state in a checkpoint: one for each optimizer."""
        return "MedenCallback" if self.optimizer is None else f"MedenCallback of optimizer {self.optimizer}"

    def state_dict(self) -> dict[str, Any]:
        """Return the state, for Lightning's checkpoint."""
        return self.attachment.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint of Lightning's; one that is only tested changes nothing here."""
        if self._fits:
            self.attachment.load_state_dict(state_dict)

    def on_load_checkpoint(self, trainer: Any, pl_module: nn.Module, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Refuse to go on from a training without this callback."""
        if self._fits and self.state_key not in checkpoint["callbacks"]:
            raise InputError(
                "ckpt_path must be a checkpoint of a training with this callback, got one without the state of "
                f"{self.state_key}; start a new training from its weights, or resume without the callback"
            )

    def setup(self, trainer: Any, pl_module: nn.Module, stage: str) -> None:  # noqa: ARG002 (Lightning's signature)
        """See whether there will be training."""
        self._fits = stage == "fit"

    def on_fit_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Put the noise in and attach the penalties: layers and optimizers are there, whose state is not loaded yet."""
        self.attachment.prepare(pl_module)
        self.attachment.attach(self._chosen(trainer.optimizers), pl_module)

    def _chosen(self, optimizers: Sequence[Optimizer]) -> Optimizer:
        if self.optimizer is None and len(optimizers) != 1:
            raise InputError(
                "optimizer must say which of the module's optimizers steps the penalised weights, 0 to "
                f"{len(optimizers) - 1}, got None"
                if optimizers
                else "configure_optimizers must return an optimizer, got none"
            )
        place = self.optimizer or 0
        if place >= len(optimizers):
            raise InputError(f"optimizer must be a position in [0, {len(optimizers) - 1}], got {place}")
        return optimizers[place]

    def on_train_epoch_start(self, trainer: Any, pl_module: nn.Module) -> None:  # noqa: ARG002
        """Forget the losses of the epoch before."""
        self._losses, self._validated = [], False

    def on_train_batch_end(
        self,
        trainer: Any,
        pl_module: nn.Module,  # noqa: ARG002
        outputs: Any,
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Keep the loss of a batch, where the module gives it back."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if self.train_loss is None and isinstance(loss, Tensor) and loss.numel() == 1:
            self._losses.append(loss.detach() * trainer.accumulate_grad_batches)  # Lightning has divided by it

    def on_validation_epoch_end(self, trainer: Any, pl_module: nn.Module) -> None:  # noqa: ARG002
        """Notice that the held-out loss is of this epoch."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Any, pl_module: nn.Module) -> None:
        """Record the epoch."""
        train, held_out = self._logged(trainer.callback_metrics)
        if train is not None:
            optimizer = self._chosen(trainer.optimizers)
            self.attachment.record(
                pl_module,
                epoch=trainer.current_epoch + 1,
                step=trainer.global_step,
                lr=float(optimizer.param_groups[0]["lr"]),
                train=train,
                held_out=held_out,
            )

    def _logged(self, metrics: Mapping[str, Tensor]) -> tuple[float | None, float | None]:
        """Return the losses of an epoch, where they are known."""
        if self._losses:
            train: float | None = float(torch.stack(self._losses).mean())
        else:
            name = self.train_loss or "train_loss"
            train = self._metric("train_loss", f"{name}_epoch" if f"{name}_epoch" in metrics else name, metrics)
        return train, self._metric("val_loss", self.val_loss, metrics) if self._validated else None

    def _metric(self, argument: str, name: str, metrics: Mapping[str, Tensor]) -> float | None:
        """Return what was logged under a name; says once that it was not."""
        if name in metrics:
            return float(metrics[name])
        if argument not in self._told and (self.diagnose or name != argument):
            self._told.add(argument)
            what = "history" if argument == "train_loss" else "held-out loss in the history"
            logged = ", ".join(metrics) or "of which there are none"
            warnings.warn(
                f"{argument} must name a metric that the module logs, {logged}, "
                f"got {name!r}: there is no {what}{nearest(name, metrics)}",
                stacklevel=2,
            )
        return None

    def teardown(self, trainer: Any, pl_module: nn.Module, stage: str) -> None:  # noqa: ARG002
        """Let go of the optimizer, whose next ``fit`` makes a new one."""
        if stage == "fit":
            self.attachment.detach()

    def on_fit_end(self, trainer: Any, pl_module: nn.Module) -> None:  # noqa: ARG002
        """Print what stands out."""
        if self.diagnose and trainer.is_global_zero and (found := self.diagnosis) is not None:
            print(found)
