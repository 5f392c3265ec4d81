"""Blocks as one operation: the same as modules, in every way of computing it."""

from __future__ import annotations

import copy
import hashlib
import logging
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from crossl.nn.attachment import plain_ways
from crossl.nn.encoders import StridedEncoder, TcnEncoder
from crossl.nn.fast import blocks, encoders
from crossl.nn.fast.convolution import TimeConvolution
from crossl.nn.fast.kernels import TorchKernels
from crossl.nn.fast.native import build, compiled_kernels
from crossl.nn.fast.native.kernels import CompiledKernels

WAYS = {"torch": TorchKernels, "compiled": compiled_kernels}


def way(name):
    made = WAYS[name]()
    if made is None:
        pytest.skip("no C++ compiler here")
    return made


def random_encoder(kind, channels):
    torch.manual_seed(channels)
    encoder = {"tcn": TcnEncoder, "strided": StridedEncoder}[kind](channels).eval()
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.3)
    return encoder


def results(encoder, x):
    """Latent, gradient of the windows, gradients of all parameters."""
    x = x.clone().requires_grad_()
    encoder.zero_grad()
    latent = encoder(x)
    generator = torch.Generator().manual_seed(1)
    latent.backward(torch.randn(latent.shape, generator=generator).to(latent.dtype))
    return [latent.detach(), x.grad, *[p.grad for p in encoder.parameters()]]


def by_modules(encoder, x):
    with plain_ways():
        return results(encoder, x)


@pytest.fixture
def in_small_parts(monkeypatch):
    for kind in (TorchKernels, CompiledKernels):
        monkeypatch.setattr(kind, "part", 30_000)


@pytest.mark.parametrize("name", sorted(WAYS))
@pytest.mark.parametrize("kind", ["tcn", "strided"])
@pytest.mark.parametrize(("channels", "time"), [(3, 128), (1, 301), (14, 77), (40, 50), (2, 3)])
@pytest.mark.usefixtures("in_small_parts")
def test_blocks_give_what_modules_give(monkeypatch, name, kind, channels, time):
    monkeypatch.setattr(blocks, "fastest_kernels", lambda: way(name))
    encoder = random_encoder(kind, channels)
    x = torch.randn(7, time, channels, generator=torch.Generator().manual_seed(0))
    got = results(encoder, x)
    with monkeypatch.context() as patch:
        patch.setattr(encoders, "can_run_blocks", lambda _: False)
        modules = results(encoder, x)
    exact = by_modules(copy.deepcopy(encoder).double(), x.double())
    for one, other, wanted in zip(got, modules, exact, strict=True):
        size, rounding = wanted.abs().max().item(), (other - wanted).abs().max().item()
        torch.testing.assert_close(
            one.double(), wanted, rtol=0, atol=2e-5 * size + 5 * rounding + 1e-7
        )


@pytest.mark.parametrize("kind", ["tcn", "strided"])
@pytest.mark.usefixtures("in_small_parts")
@pytest.mark.parametrize("in_blocks", [True, False], ids=["blocks", "channels-last"])
@pytest.mark.parametrize("time", [1, 7, 90, 129])
def test_in_float64_all_ways_agree_to_rounding(monkeypatch, kind, in_blocks, time):
    monkeypatch.setattr(encoders, "can_run_blocks", lambda _: in_blocks)
    encoder = random_encoder(kind, 3).double()
    x = torch.randn(5, time, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for got, wanted in zip(results(encoder, x), by_modules(encoder, x), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", sorted(WAYS))
@pytest.mark.parametrize("kind", ["tcn", "strided"])
def test_bfloat16_stays_close_to_float32(monkeypatch, name, kind):
    monkeypatch.setattr(blocks, "fastest_kernels", lambda: way(name))
    encoder = random_encoder(kind, 3)
    x = torch.randn(6, 200, 3, generator=torch.Generator().manual_seed(0))
    wanted = encoder(x)
    with torch.autocast("cpu", torch.bfloat16):
        got = encoder(x)
    got.float().sum().backward()
    assert 0 < (got.float() - wanted).abs().max() < 0.05 * wanted.abs().max()
    for parameter in encoder.parameters():
        assert parameter.grad.dtype == torch.float32
        assert torch.isfinite(parameter.grad).all()


def test_compiled_kernels_do_not_depend_on_the_number_of_threads():
    kernels = way("compiled")
    encoder = random_encoder("strided", 3)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        y = torch.randn(8, 40, 48, generator=torch.Generator().manual_seed(0))
        block = encoders.strided_blocks(encoder.KERNELS, encoder.STRIDES)[1]
        weights = encoders.strided_weights(encoder)[1]
        done = kernels.forward(block, weights, y, out=None, again=None)
        gradient, sums = torch.empty_like(y), torch.zeros(4, 48)
        kernels.backward(
            block, weights, y, done,
            gradient=None, of_pooled=done.pooled, out=gradient, sums=sums,
        )  # fmt: skip
        found.append([*done.pooled, gradient, sums])
    torch.set_num_threads(before)
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", sorted(WAYS))
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_hidden(monkeypatch, name, bad):
    monkeypatch.setattr(blocks, "fastest_kernels", lambda: way(name))
    x = torch.zeros(3, 60, 3)
    x[1, 30, 0] = bad
    finite = torch.isfinite(random_encoder("tcn", 3)(x)).all(dim=1)
    assert finite.tolist() == [True, False, True]


def test_backward_may_run_twice():
    encoder, x = random_encoder("strided", 2), torch.randn(3, 40, 2)
    latent = encoder(x).sum()
    first = torch.autograd.grad(latent, list(encoder.parameters()), retain_graph=True)
    second = torch.autograd.grad(latent, list(encoder.parameters()))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_memory_that_is_used_again_keeps_its_padding():
    encoder = random_encoder("tcn", 3)
    big = torch.full((4, 64, 3), 1e6)
    x = torch.randn(4, 64, 3, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        first = encoder(x)
        encoder(big)
    latent = encoder(x)
    latent.sum().backward()
    assert torch.equal(first, latent.detach())


def test_a_deep_copy_and_state_of_an_encoder_are_those_of_its_modules():
    encoder = random_encoder("strided", 3)
    assert copy.deepcopy(encoder).state_dict().keys() == encoder.state_dict().keys()
    assert not [name for name in encoder.state_dict() if "block" in name]


@pytest.mark.parametrize(
    ("channels", "stride"), [(1, 1), (3, 1), (13, 1), (40, 1), (3, 4), (40, 2)]
)
def test_gradients_of_a_convolution_are_those_of_torch(channels, stride):
    weight = torch.randn(6, channels, 8, dtype=torch.float64)
    bias = torch.randn(6, dtype=torch.float64)
    x = torch.randn(2, 37, channels, dtype=torch.float64, requires_grad=True)
    own = TimeConvolution(weight, bias, stride=stride, dtype=torch.float64)
    weight.requires_grad_()
    wanted = nn.functional.conv1d(x.transpose(1, 2), weight, bias, stride).transpose(1, 2)
    torch.testing.assert_close(own(x.detach()), wanted.detach())
    gradient = torch.randn_like(wanted)
    wanted.backward(gradient)
    torch.testing.assert_close(own.input_gradient(gradient, x.detach()), x.grad)
    for _ in range(2):
        own.add_weight_gradient(gradient, x.detach())
    torch.testing.assert_close(own.weight_gradient(), 2 * weight.grad)


def test_without_a_compiler_plain_torch_does_it(monkeypatch, caplog):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with caplog.at_level(logging.INFO):
        assert build.load_library() is None
    assert [r.message for r in caplog.records] == [
        "no C++ compiler found: encoders run without compiled kernels, more slowly"
    ]


def test_a_compiler_that_fails_is_told_of_in_one_line(monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("CXX", sys.executable + " -c 'import sys; sys.exit(\"error: broken\")'")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert build.load_library() is None
    (record,) = caplog.records
    assert record.message.startswith("compiled kernels are not used, plain torch is: ")
    assert not list(tmp_path.rglob("*.so"))


@pytest.mark.slow
def test_kernels_are_built_once(monkeypatch, tmp_path):
    way("compiled")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert build.load_library() is not None
    (made,) = tmp_path.rglob("*.so")
    before = made.stat().st_mtime_ns
    assert build.load_library() is not None
    assert made.stat().st_mtime_ns == before
    assert [path.name for path in made.parent.iterdir()] == [made.name]


@pytest.fixture
def cached(monkeypatch, tmp_path):
    """A cache of one's own with the file of this machine's, which was built once."""
    way("compiled")
    name = f"kernels-{build._key(build._compiler())}.so"
    content = (build._cache_folder() / name).read_bytes()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "crossl").mkdir()
    made = tmp_path / "crossl" / name
    made.write_bytes(content)
    made.chmod(0o600)
    return made


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    path.write_bytes(b"")


def change(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :: 7] = bytes(len(content[len(content) // 2 :: 7]))
    path.write_bytes(content)


def without_our_functions(path):
    """Put another library there, sealed as ours are."""
    source = path.with_suffix(".cpp")
    source.write_text('extern "C" int other() { return 1; }')
    subprocess.run(["c++", "-shared", "-fPIC", source, "-o", path], check=True)
    source.unlink()
    content = path.read_bytes()
    path.write_bytes(content + build.SEAL + hashlib.sha256(content).hexdigest().encode())


def open_to_others(path):
    path.chmod(0o666)


def pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("harm", [cut, empty, change, without_our_functions, open_to_others, pipe])
def test_what_lies_in_the_cache_and_does_not_fit_is_built_anew(cached, harm, monkeypatch):
    whole = cached.read_bytes()
    harm(cached)
    monkeypatch.setattr(build, "_build", lambda _compiler: whole.rpartition(build.SEAL)[0])
    library = build.load_library()
    assert library.crossl_max_channels() > 0
    assert cached.read_bytes() == whole
    assert cached.stat().st_mode & 0o777 == 0o600


def test_a_library_that_others_own_is_not_loaded(cached, monkeypatch):
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(build.KernelError, match="others than you can write it"):
        build._read_sealed(cached)


def test_what_is_loaded_is_what_was_checked(cached):
    library = build.load_library()
    cut(cached)  # a file that is mapped would now end the process by SIGBUS
    assert library.crossl_max_channels() > 0


def no_home(monkeypatch):
    def refuse():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(build.Path, "home", refuse)


def a_quote(monkeypatch):
    monkeypatch.setenv("CXX", "c++ 'and so on")


def relative_home(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("HOME", "home")


def unexpected(monkeypatch):
    def fail(_compiler):
        raise ZeroDivisionError("who would have thought")

    monkeypatch.setattr(build, "_load", fail)


@pytest.mark.parametrize(("trouble", "told"), [
    (no_home, "this user has no home folder to keep them in"),
    (a_quote, "CXX is 'c++ 'and so on', No closing quotation"),
    (relative_home, "HOME is 'home'; an absolute path is needed to keep them in"),
    (unexpected, "who would have thought"),
])  # fmt: skip
def test_without_a_place_or_a_compiler_plain_torch_does_it_and_one_line_says_so(
    trouble, told, monkeypatch, caplog, tmp_path
):
    way("compiled")
    monkeypatch.chdir(tmp_path)
    trouble(monkeypatch)
    assert build.load_library() is None
    (record,) = caplog.records
    assert record.message == f"compiled kernels are not used, plain torch is: {told}"
    assert not list(tmp_path.iterdir())


def test_a_relative_cache_folder_is_not_followed(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert build._cache_folder() == tmp_path / ".cache" / "crossl"


def test_the_environment_can_switch_compiled_kernels_off(monkeypatch):
    monkeypatch.setenv("CROSSL_NATIVE", "0")
    code = "from crossl.nn.fast.blocks import fastest_kernels as f; print(type(f()).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "TorchKernels"


@pytest.mark.parametrize("kind", ["tcn", "strided"])
def test_gradients_are_laid_out_as_their_parameters(kind):
    for channels in (1, 3):
        encoder = random_encoder(kind, channels)
        encoder(torch.randn(4, 60, channels)).sum().backward()
        assert all(p.grad.stride() == p.stride() for p in encoder.parameters())
