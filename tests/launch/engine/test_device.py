"""Where a run is computed. The CUDA path is tested on the CPU as far as it can be (formats, losses, refusals), and as a whole
where there is a device."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from haigo.cli import HaigoError, Refused
from launch.engine import device, settings
from launch.engine.job import prepare
from launch.engine.options import TrainOptions
from launch.local.train import train
from launch.neox import gpus
from launch.proxies import workers


def cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def test_words_for_devices(monkeypatch, tmp_path):
    import torch

    assert device.resolve("cpu") == "cpu"
    monkeypatch.setattr(device, "_DRIVER", tmp_path / "none")
    assert device.resolve("auto") == "cpu"
    monkeypatch.setattr(device, "_DRIVER", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.resolve("auto") == "cpu"
    with pytest.raises(HaigoError, match="sees 0 CUDA devices"):
        device.resolve("cuda")
    for word in ("gpu", "cuda:", "cuda:x", "CUDA", ""):
        with pytest.raises(HaigoError, match="is no device"):
            device.resolve(word)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert device.resolve("auto") == "cuda:0" and device.resolve("cuda:3") == "cuda:3"
    monkeypatch.setenv(device.WORKER, "6")
    assert device.resolve("auto") == device.resolve("cuda") == "cuda:2"
    assert device.resolve("cuda:1") == "cuda:1"
    with pytest.raises(HaigoError, match="sees 4 CUDA devices"):
        device.resolve("cuda:4")


@pytest.mark.parametrize(
    "cards,free_mib,cores,hidden,expected",
    [
        (1, ["81000"], 16, 64, 8),  # a small proxy: no more than 8 share a card
        (4, ["40000"] * 4, 16, 64, 16),  # never more than the cores
        (4, ["40000"] * 4, 64, 64, 32),
        (2, ["40000", "4000"], 64, 64, 6),  # the fullest card decides: 3,200 MiB of it, a bit over 1,024 each
        (2, ["40000", "500"], 64, 64, 2),
        (2, ["40000", "12000"], 64, 4096, 2),  # larger than half of what the fullest has
        (2, [], 64, 64, 2),  # nvidia-smi does not answer
        (3, ["40000"], 64, 64, 3),  # or says something else than torch
    ],
)
def test_how_many_proxies_share_the_cuda_devices(
    world, monkeypatch, tmp_path, cards, free_mib, cores, hidden, expected
):
    import torch

    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\n" + ("".join(f"echo {line}\n" for line in free_mib) or "exit 9\n"))
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(device, "_DRIVER", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setattr(workers.pool, "cores", lambda: cores)
    job = prepare(world.config(hidden_size=hidden), TrainOptions(tokenizer=world.tokenizer))
    assert job.device == "cuda:0"
    found, remark = workers.default(job)
    assert found == expected and f"{expected} proxies at a time: CUDA devices {cards}" in remark


@pytest.mark.parametrize(("gigabytes", "expected"), [(16, 5), (0.25, 3), (0.01, 1)])
def test_as_many_proxies_as_cores_on_a_cpu_or_as_its_memory_holds(world, monkeypatch, gigabytes, expected):
    monkeypatch.setattr(workers.pool, "cores", lambda: 5)
    monkeypatch.setattr(workers.memory, "available", lambda: int(gigabytes * 2**30))
    found, remark = workers.default(prepare(world.config(), TrainOptions(tokenizer=world.tokenizer, device="cpu")))
    assert found == expected and (remark == "") == (expected == 5)


def test_memory_of_a_proxy_holds_its_weights_and_moments(world):
    from launch.engine import model as models

    for changes in ({}, {"no_weight_tying": False, "num_layers": 3}, {"hidden_size": 128, "intermediate_size": 64}):
        job = prepare(world.config(**changes), TrainOptions(tokenizer=world.tokenizer, device="cpu"))
        matrices = [w for w in models.build(job.plan, job.tokenizer.vocab_size, 1).parameters() if w.dim() == 2]
        larger = prepare(world.config(train_micro_batch_size_per_gpu=8, **changes), job.options)
        kept = workers.need(larger) - workers.need(job)
        assert workers.need(job) - kept - workers._CPU_PROCESS > 18 * sum(weight.numel() for weight in matrices)
        assert kept > 4 * 32 * job.plan.num_layers * job.plan.hidden_size * 4 * 14


def test_a_checkpoint_is_read_to_the_memory_whatever_card_it_is_of(world, tmp_path, monkeypatch):
    import torch

    places = []
    known = torch.load
    monkeypatch.setattr(torch, "load", lambda *given, **how: places.append(how["map_location"]) or known(*given, **how))
    options = TrainOptions(tokenizer=world.tokenizer, device="cpu", checkpoint_every_s=0)

    def stop(tick):
        if tick.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(world.config(), tmp_path / "run", options, progress=stop)
    train(world.config(), tmp_path / "run", options)
    assert places == ["cpu"]


@pytest.mark.parametrize("precision", ["fp32", "bfloat16"])
def test_memory_of_a_proxy_holds_what_the_backward_pass_needs(world, precision):
    import torch

    from launch.engine import model as models

    def kept(layers):
        job = prepare(
            world.config(hidden_size=64, num_layers=layers), TrainOptions(tokenizer=world.tokenizer, device="cpu")
        )
        job, found = replace(job, precision=precision), {}
        model = models.build(job.plan, job.tokenizer.vocab_size, 1)
        own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}

        def pack(tensor):
            found[tensor.untyped_storage().data_ptr()] = tensor  # held, or another would take its place
            return tensor

        batch = torch.zeros(job.plan.micro_batch, job.plan.seq_length, dtype=torch.int64)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), device.products("cpu", precision):
            hidden = models.body(model, batch)
        assert hidden.requires_grad
        return job, sum(each.untyped_storage().nbytes() for place, each in found.items() if place not in own)

    (one, less), (three, more) = kept(1), kept(3)
    # beside a layer's tensors its weights are counted, 18 bytes each, of which the copies for bfloat16 products are kept too
    weights = 18 * (three.plan.weights(0) - one.plan.weights(0))
    rule = workers.need(three) - workers.need(one) - weights
    copies = (three.plan.weights(0) - one.plan.weights(0)) * 2 if precision == "bfloat16" else 0
    assert 1 <= rule / (more - less - copies) < 1.5


def test_the_asked_devices_alone_are_looked_at(monkeypatch, tmp_path):
    smi = tmp_path / "nvidia-smi"
    smi.write_text('#!/bin/sh\necho "$@" > "$0.words"; echo 1; echo 2\n')
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-ab")
    assert gpus.free_bytes(os.environ) == [1 << 20, 2 << 20]
    assert (tmp_path / "nvidia-smi.words").read_text().split()[-1] == "--id=3,GPU-ab"
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert gpus.free_bytes(os.environ) == []


def test_precision_on_cuda(world):
    half = settings.resolve(world.config(precision="bfloat16"))
    assert device.computed_in(half, None, "cuda:0") == "bfloat16"
    assert device.computed_in(half, "fp32", "cuda:0") == "fp32"
    assert device.computed_in(settings.resolve(world.config()), None, "cuda:0") == "fp32"
    assert device.computed_in(settings.resolve(world.config()), "bfloat16", "cuda:0") == "bfloat16"
    with pytest.raises(Refused, match="loss scaling"):
        device.computed_in(settings.resolve(world.config(precision="fp16")), None, "cuda:0")
    with pytest.raises(HaigoError, match="fp32 or bfloat16"):
        device.computed_in(half, "fp8", "cuda:0")
    assert device.computed_in(half, "fp32") == "fp32"
    with pytest.raises(HaigoError, match="in fp32 on a CPU"):
        device.computed_in(half, "bfloat16")


@pytest.mark.parametrize("rows", [1, 40, 300])
def test_loss_of_bfloat16_hidden_states(rows):
    import torch

    from haigo.formats.dataset.ids import MASKED
    from launch.engine.loss import fused_cross_entropy, token_nats

    generator = torch.Generator().manual_seed(rows)
    exact = torch.randn(rows, 24, generator=generator)
    hidden = exact.to(torch.bfloat16).requires_grad_()
    weight = torch.randn(130, 24, generator=generator, requires_grad=True)
    labels = torch.randint(130, (rows,), generator=generator)
    if rows > 1:
        labels[::3] = MASKED
    # the reference: the same products in bfloat16, everything after them in float32
    logits = (hidden @ weight.to(torch.bfloat16).t()).float()
    stock = torch.nn.functional.cross_entropy(logits, labels)
    expected = torch.autograd.grad(stock, [hidden, weight])
    ours = fused_cross_entropy(hidden, weight, labels, 64)
    found = torch.autograd.grad(ours, [hidden, weight])
    assert ours.dtype == torch.float32 and ours.item() == pytest.approx(stock.item(), abs=1e-5)
    assert found[0].dtype == torch.bfloat16 and found[1].dtype == torch.float32
    for left, right in zip(found, expected, strict=True):
        scale = float(right.float().abs().max())
        assert float((left.float() - right.float()).abs().max()) < 0.02 * scale
    # scores are always in float32
    nats = token_nats(hidden.detach(), weight.detach(), labels, 64)
    plain = torch.nn.functional.cross_entropy(
        hidden.detach().float() @ weight.detach().t(), labels, reduction="none", ignore_index=MASKED
    )
    assert nats.dtype == torch.float32 and torch.allclose(nats, plain, atol=1e-4)


def test_products_are_in_bfloat16_where_asked(world):
    import torch

    from launch.engine import model as models

    plan = settings.resolve(world.config())
    model = models.build(plan, 300, 1)
    batch = torch.randint(300, (1, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        with device.products("cpu", "fp32"):
            exact = models.body(model, batch)
        with device.products("cpu", "bfloat16"):
            assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.bfloat16
            short = models.body(model, batch)
    gap = float((exact - short.float()).abs().max() / exact.abs().max())
    assert 0 < gap < 0.05


@pytest.mark.skipif(not os.path.exists("/dev/nvidiactl"), reason="there is no NVIDIA device")
@pytest.mark.parametrize("asked", ["fp32", "bfloat16"])
def test_a_run_on_cuda_follows_the_one_on_the_cpu(world, tmp_path, asked):
    if not cuda():
        pytest.skip("torch was installed without CUDA")
    config = world.config()
    here = train(config, tmp_path / "cpu", tokenizer=world.tokenizer, device="cpu")
    there = train(config, tmp_path / "cuda", tokenizer=world.tokenizer, device="cuda", precision_override=asked)
    assert there["device"] != "cpu" and here["device"] == "cpu"
    near = 1e-3 if asked == "fp32" else 0.05
    assert there["loss"] == pytest.approx(here["loss"], abs=near)
    for name, value in here["metrics"].items():
        assert there["metrics"][name] == pytest.approx(value, abs=near)
    assert (tmp_path / "cuda" / "model" / "model.safetensors").is_file()
