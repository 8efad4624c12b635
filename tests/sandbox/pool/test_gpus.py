"""Slots laid out over devices, and GPUs found in the files of their driver: here in folders of the same form."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from sandbox.pool.gpus import Gpu, SlotLayout, driver_version, failed, gpus, torch_has_cuda
from sandbox.sandbox import TaskError

ROOT = Path(__file__).resolve().parents[3]
TWO = (Gpu(0, "A", "GPU-aa11"), Gpu(1, "B", "GPU-bb22"))
INFORMATION = """\
Model: \t\t NVIDIA H100 80GB HBM3
IRQ:   \t\t 77
GPU UUID: \t {uuid}
Video BIOS: \t 96.00.99.00.01
Bus Type: \t PCIe
Bus Location: \t 0000:{bus}:00.0
Device Minor: \t {minor}
GPU Excluded:\t No
"""


class TestLayout:
    @pytest.mark.parametrize(
        ("asked", "found", "devices"),
        [
            (1, (), ("cpu",)),
            (3, (), ("cpu",) * 3),
            ("4", (), ("cpu",) * 4),
            ("cpu:2", TWO, ("cpu",) * 2),
            (1, TWO, ("cuda:0",)),
            (3, TWO, ("cuda:0", "cuda:1", "cuda:0")),
            ("2/gpu", TWO, ("cuda:0", "cuda:1") * 2),
            ("4/gpu", TWO[1:], ("cuda:1",) * 4),
            (" 2/gpu ", TWO[:1], ("cuda:0",) * 2),
        ],
    )
    def test_every_slot_that_was_asked_for_has_a_device(self, asked, found, devices):
        assert SlotLayout.read(asked).devices(found) == devices

    @pytest.mark.parametrize(
        "asked", [0, -1, 1.5, True, "", "many", "0", "0/gpu", "2/cpu", "gpu:2", "cpu:2/gpu", "2 gpu", "cpu:", "\u0663", "99999"]
    )
    def test_anything_else_is_refused_in_a_sentence(self, asked):
        with pytest.raises(ValueError, match=r"^slots are a number such as 4, .* not "):
            SlotLayout.read(asked)

    def test_slots_on_gpus_that_are_not_there_are_the_users_mistake(self):
        with pytest.raises(TaskError, match=r"2/gpu was asked for, and there is no GPU here; give cpu:N\.$"):
            SlotLayout.read("2/gpu").devices(())

    def test_so_are_slots_on_gpus_that_torch_cannot_use_but_a_plain_number_goes_to_the_cpu(self):
        with pytest.raises(TaskError, match="torch is built without CUDA"):
            SlotLayout.read("1/gpu").devices(TWO, usable=False)
        assert SlotLayout.read(2).devices(TWO, usable=False) == ("cpu", "cpu")


class TestGpus:
    @pytest.fixture
    def machine(self, tmp_path):
        """Three GPUs whose numbers are in another order than their places on the bus, of which one has no device node."""
        driver, nodes = tmp_path / "gpus", tmp_path / "dev"
        for bus, minor, uuid in (("1b", 1, "GPU-aa11"), ("3c", 0, "GPU-aa22"), ("9d", 2, "GPU-cc33")):
            (driver / f"0000:{bus}:00.0").mkdir(parents=True)
            (driver / f"0000:{bus}:00.0/information").write_text(INFORMATION.format(bus=bus, minor=minor, uuid=uuid))
        nodes.mkdir()
        for minor in (0, 1):
            (nodes / f"nvidia{minor}").touch()
        return lambda **environment: [gpu.device for gpu in gpus(environment, driver, nodes)]

    def test_they_are_found_in_the_order_of_the_bus_where_there_is_a_device_node(self, machine):
        assert machine() == ["cuda:1", "cuda:0"]

    @pytest.mark.parametrize(
        ("visible", "observed"),
        [
            ("", []),
            ("-1", []),
            ("0", ["cuda:1"]),
            ("1,0", ["cuda:0", "cuda:1"]),
            ("GPU-aa22", ["cuda:0"]),
            ("GPU-aa", []),  # fits two
            ("1,7,0", ["cuda:0"]),  # as CUDA does: everything after an invalid entry is ignored
            ("0,0", ["cuda:1"]),
        ],
    )
    def test_the_users_choice_counts(self, machine, visible, observed):
        assert machine(CUDA_VISIBLE_DEVICES=visible) == observed

    def test_name_and_uuid_come_from_the_driver(self, tmp_path):
        (tmp_path / "x").mkdir()
        (tmp_path / "x/information").write_text(INFORMATION.format(bus="1b", minor=0, uuid="GPU-aa11"))
        (tmp_path / "nvidia0").touch()
        assert gpus({}, tmp_path, tmp_path) == (Gpu(0, "NVIDIA H100 80GB HBM3", "GPU-aa11"),)

    def test_if_the_driver_has_no_files_its_tool_is_asked(self, tmp_path, monkeypatch):
        tool = tmp_path / "nvidia-smi"
        message = ("0, NVIDIA A, GPU-aa11, 81559 MiB", "broken", "1, NVIDIA B, GPU-bb22, 9 MiB")
        tool.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in message))
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        found = gpus({}, tmp_path / "nothing")
        assert found == (Gpu(0, "NVIDIA A", "GPU-aa11", "81559 MiB"), Gpu(1, "NVIDIA B", "GPU-bb22", "9 MiB"))
        assert [gpu.device for gpu in gpus({"CUDA_VISIBLE_DEVICES": "1"}, tmp_path / "nothing")] == ["cuda:1"]

    def test_the_drivers_version_is_in_its_files_or_asked_of_its_tool(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        assert driver_version(tmp_path / "gpus") == ""
        tool = tmp_path / "nvidia-smi"
        tool.write_text("#!/bin/sh\necho 570.1\n")
        tool.chmod(0o755)
        assert driver_version(tmp_path / "gpus") == "570.1"
        lines = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.82.07  Release", "GCC version: gcc 12.2.0"
        (tmp_path / "version").write_text("\n".join(lines))
        assert driver_version(tmp_path / "gpus") == "580.82.07"

    def test_a_tool_that_fails_or_is_not_there_is_no_gpu(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        assert gpus({}, tmp_path / "nothing") == ()
        tool = tmp_path / "nvidia-smi"
        tool.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
        tool.chmod(0o755)
        assert gpus({}, tmp_path / "nothing") == ()


def test_whether_torch_was_built_for_cuda_is_known_without_importing_it():
    (folder,) = find_spec("torch").submodule_search_locations
    code = "import sys; from sandbox.pool.gpus import torch_has_cuda; print(torch_has_cuda(), 'torch' in sys.modules)"
    message = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert message == [str(runpy.run_path(f"{folder}/version.py")["cuda"] is not None), "False"]


def test_a_torch_with_cuda_is_known_by_its_version(tmp_path, monkeypatch):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for line, has in (("cuda: Optional[str] = '13.0'", True), ('cuda = "12.6"', True), ("cuda: Optional[str] = None", False)):
        (tmp_path / "torch/version.py").write_text(f"__version__ = '2.13.0'\n{line}\nhip: Optional[str] = None\n")
        assert torch_has_cuda() is has


@pytest.mark.parametrize(
    ("log", "blamed"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", True),
        ("torch.AcceleratorError: CUDA error: unspecified launch failure", True),
        ("RuntimeError: cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`", True),
        ("RuntimeError: No CUDA GPUs are available", True),
        ("torch.AcceleratorError: CUDA error: device-side assert triggered", False),
        ("RuntimeError: mat1 and mat2 shapes cannot be multiplied", False),
        ("MemoryError", False),
    ],
)
def test_errors_of_a_gpu_are_distinguished_from_errors_of_a_program(log, blamed):
    assert failed(f"Traceback (most recent call last):\n  ...\n{log}\n") is blamed
