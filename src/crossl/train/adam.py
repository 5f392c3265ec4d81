"""Adam: as torch writes it, on one thread, and as Keras does, for the `paper` recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

LARGE = 1 << 18
"""Numbers of a tensor whose update is worth dividing among threads."""


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Let torch use one thread: many small tensors are not worth waking others for."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _evaluated(closure: Callable[[], Any] | None) -> Any:
    """Return the loss, with gradients, and on all threads: what follows takes one."""
    with torch.enable_grad():
        return None if closure is None else closure()


class AdamW(torch.optim.AdamW):
    """Torch's own, whose update of small tensors takes one thread.

    After a step of two cores the same took three times as long on both: each tensor is too small
    to divide, and threads must be woken.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take one step."""
        loss = _evaluated(closure)
        groups = [group["params"] for group in self.param_groups]
        small = all(p.numel() < LARGE for group in groups for p in group)
        with on_one_thread() if small else nullcontext():
            super().step()
        return loss


class KerasAdam(torch.optim.Optimizer):
    """Adam whose epsilon is added before the bias correction.

    `w -= lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon)`: where gradients are small,
    early steps differ from torch's Adam by up to 0.69 lr.

    Args:
        parameters: to optimise.
        lr: step size.
        betas: decay of the first and second moment.
        epsilon: added to the root of the uncorrected second moment.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        *,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-7,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "epsilon": epsilon})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take one step."""
        loss = _evaluated(closure)
        with on_one_thread():
            for group in self.param_groups:
                parameters = [p for p in group["params"] if p.grad is not None]
                if parameters:
                    self._step_group(parameters, group)
        return loss

    def _step_group(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        (beta1, beta2), lr = group["betas"], group["lr"]
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["step"] = 0
                state["m"] = torch.zeros_like(parameter)
                state["v"] = torch.zeros_like(parameter)
            state["step"] += 1
        gradients = [p.grad for p in parameters if p.grad is not None]
        m = [self.state[p]["m"] for p in parameters]
        v = [self.state[p]["v"] for p in parameters]
        t = self.state[parameters[0]]["step"]
        torch._foreach_lerp_(m, gradients, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, gradients, gradients, 1 - beta2)
        root = torch._foreach_sqrt(v)
        torch._foreach_add_(root, group["epsilon"])
        scale = lr * (1 - beta2**t) ** 0.5 / (1 - beta1**t)
        torch._foreach_addcdiv_(parameters, m, root, -scale)
