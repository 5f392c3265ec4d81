"""Work divided among threads: in order, without gradient, on threads of its own."""

from __future__ import annotations

import threading

import pytest
import torch

from crossl.nn.encoders import StridedEncoder
from crossl.nn.fast.threads import on_threads


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_keep_the_order_of_items(threads):
    found = on_threads(list, list(range(7)))
    assert len(found) == threads
    assert [item for part in found for item in part] == list(range(7))


def test_a_part_uses_one_thread_and_the_caller_keeps_its_own(threads):
    told = on_threads(lambda _: (torch.get_num_threads(), threading.get_ident()), [0, 1, 2])
    if threads > 1:
        assert {number for number, _ in told} == {1}
        assert threading.get_ident() not in {ident for _, ident in told}
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("threads")
def test_an_error_reaches_the_caller():
    def fail(_):
        raise ValueError("broken part")

    with pytest.raises(ValueError, match="broken part"):
        on_threads(fail, [1, 2, 3])


def test_latents_and_gradients_do_not_depend_on_the_number_of_threads(threads):
    torch.manual_seed(0)
    # in double precision, where only how the work is divided could make a difference
    encoder, x = StridedEncoder(3).double(), torch.randn(9, 64, 3, dtype=torch.float64)
    latent = encoder(x)
    latent.square().sum().backward()
    torch.set_num_threads(1)
    gradients = [p.grad.clone() for p in encoder.parameters()]
    encoder.zero_grad()
    alone = encoder(x)
    alone.square().sum().backward()
    torch.testing.assert_close(latent, alone, rtol=1e-9, atol=1e-9)
    for one, parameter in zip(gradients, encoder.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad, rtol=1e-9, atol=1e-9)
    torch.set_num_threads(threads)
