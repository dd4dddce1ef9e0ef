"""Layouts beside the plain file, written by torch itself: folders, programs, pruned modules, states of a run.

Run in a virtual environment of its own: pip install torch==2.13.0 numpy

    python plugins/wexport-torch/tests/make/make_layouts.py

Writes plugins/wexport-torch/tests/layouts.zip: beside each, `NAME.ref.pt` is the same model as a plain state dict.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.nn.utils import prune

OUT = Path(__file__).resolve().parents[1] / "layouts.zip"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)
        self.register_buffer("passing", torch.randn(5), persistent=False)

    def forward(self, x: Any) -> Any:
        return self.fc(self.bn(self.conv(x)).mean((2, 3))) + self.passing


def divided(rank: int, folder: str) -> None:
    """One of two processes: tensors divided by rows, by columns, and not at all."""
    import torch.distributed as dist
    from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

    dist.init_process_group("gloo", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    torch.manual_seed(0)
    whole = {"fc.weight": torch.randn(6, 5), "out.weight": torch.randn(4, 7), "fc.bias": torch.randn(6)}
    if rank == 0:
        torch.save(whole, f"{folder}/two_processes.ref.pt")
    model = {
        "fc.weight": distribute_tensor(whole["fc.weight"], mesh, [Shard(0)]),
        "out.weight": distribute_tensor(whole["out.weight"], mesh, [Shard(1)]),
        "fc.bias": whole["fc.bias"],
    }
    moments = {"exp_avg": distribute_tensor(2 * whole["fc.weight"], mesh, [Shard(0)])}
    state = {"model": model, "optimizer": {"state": {"fc.weight": moments}, "lr": 0.1}, "epoch": 4}
    dcp.save(state, checkpoint_id=f"{folder}/two_processes")
    dist.destroy_process_group()


def main() -> None:
    torch.manual_seed(1)
    os.environ.update(MASTER_ADDR="localhost", MASTER_PORT="29511")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        net = Net().eval()
        state = net.state_dict()
        for ref in ("program", "one_process", "sharded"):
            torch.save(state, folder / f"{ref}.ref.pt")
        torch.export.save(torch.export.export(net, (torch.randn(1, 3, 6, 6),)), folder / "program.pt2")
        dcp.save(state, checkpoint_id=folder / "one_process", no_dist=True)
        torch.multiprocessing.spawn(divided, (name,), 2)

        (folder / "sharded").mkdir()
        index: dict[str, str] = {}
        for number, keys in enumerate((list(state)[:3], list(state)[3:]), 1):
            file = f"pytorch_model-0000{number}-of-00002.bin"
            torch.save({key: state[key] for key in keys}, folder / "sharded" / file)
            index |= dict.fromkeys(keys, file)
        text = json.dumps({"metadata": {}, "weight_map": index})
        (folder / "sharded" / "pytorch_model.bin.index.json").write_text(text)

        pruned = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
        prune.l1_unstructured(pruned[0], "weight", 0.5)
        torch.save(pruned.state_dict(), folder / "pruned.pt")
        torch.save(pruned, folder / "pruned_whole.pt")
        prune.remove(pruned[0], "weight")
        torch.save(pruned.state_dict(), folder / "pruned.ref.pt")

        checkpoint = folder / "run" / "checkpoint-4"
        checkpoint.mkdir(parents=True)
        optimizer = torch.optim.Adam(net.parameters())
        net.train()(torch.randn(2, 3, 6, 6)).sum().backward()
        optimizer.step()
        torch.save(net.state_dict(), checkpoint / "pytorch_model.bin")
        torch.save(optimizer.state_dict(), checkpoint / "optimizer.pt")
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
        torch.save(scheduler.state_dict(), checkpoint / "scheduler.pt")
        generators = {"python": (3, (1, 2), None), "cpu": torch.random.get_rng_state()[:64]}
        torch.save(generators, checkpoint / "rng_state.pth")
        with zipfile.ZipFile(OUT, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), (2026, 1, 1, 0, 0, 0))
                    archive.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    print(f"{OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
