"""A container's limits on processor and memory count, of both versions of control groups."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import torch

from ae_sweep import container, training
from ae_sweep.container import cpu_quota, memory_limit_bytes

if TYPE_CHECKING:
    from pathlib import Path

GIB = 2**30
V2 = "31 23 0:28 {group} /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "32 31 0:29 {group} /sys/fs/cgroup/{name} rw,relatime - cgroup cgroup rw,{name}"
NO_LIMIT_V1 = "9223372036854771712"


def machine(
    root: Path, *, groups: str, mounts: list[str], files: dict[str, str] | None = None
) -> Path:
    """Write the files of a machine's kernel below a directory."""
    everything = {
        "proc/self/cgroup": groups,
        "proc/self/mountinfo": "\n".join(["21 1 8:1 / / rw - ext4 /dev/sda1 rw", *mounts, ""]),
        **{f"sys/fs/cgroup/{name}": text for name, text in (files or {}).items()},
    }
    for name, text in everything.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def version_2(root: Path, files: dict[str, str], *, path: str = "/", group: str = "/") -> Path:
    return machine(root, groups=f"0::{path}\n", mounts=[V2.format(group=group)], files=files)


def version_1(root: Path, files: dict[str, str], *, path: str = "/", group: str = "/") -> Path:
    mounts = [V1.format(group=group, name=name) for name in ("cpu,cpuacct", "memory", "pids")]
    groups = f"4:memory:{path}\n3:pids:{path}\n2:cpu,cpuacct:{path}\n0::/\n"
    return machine(root, groups=groups, mounts=mounts, files=files)


def test_version_2_in_a_namespace_of_its_own(tmp_path: Path) -> None:
    root = version_2(tmp_path, {"cpu.max": "150000 100000\n", "memory.max": f"{2 * GIB}\n"})
    assert cpu_quota(root) == 1.5
    assert memory_limit_bytes(root) == 2 * GIB


def test_version_2_without_limits(tmp_path: Path) -> None:
    root = version_2(tmp_path, {"cpu.max": "max 100000\n", "memory.max": "max\n"})
    assert cpu_quota(root) is None
    assert memory_limit_bytes(root) is None


def test_the_lowest_limit_of_all_groups_above_counts(tmp_path: Path) -> None:
    files = {
        "a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000", "a/b/c/cpu.max": "400000 100000",
        "a/memory.max": "max", "a/b/memory.max": str(3 * GIB), "a/b/c/memory.max": str(8 * GIB),
    }  # fmt: skip
    root = version_2(tmp_path, files, path="/a/b/c")
    assert cpu_quota(root) == 2.0
    assert memory_limit_bytes(root) == 3 * GIB


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("/docker/5f", "/docker/5f"),  # the mount shows the container's group alone
        ("/docker/5f", "/docker/other"),  # what the process is in is not seen from inside
        ("/../../user.slice", "/"),
    ],
)
def test_a_group_whose_path_is_the_machines_is_found_where_it_is_mounted(
    tmp_path: Path, path: str, group: str
) -> None:
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "400000\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "memory/memory.limit_in_bytes": f"{4 * GIB}\n",
    }
    root = version_1(tmp_path, files, path=path, group=group)
    assert cpu_quota(root) == 4.0
    assert memory_limit_bytes(root) == 4 * GIB


def test_version_1_without_limits(tmp_path: Path) -> None:
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "memory/memory.limit_in_bytes": NO_LIMIT_V1,
    }
    root = version_1(tmp_path, files)
    assert cpu_quota(root) is None
    assert memory_limit_bytes(root) is None


def test_a_machine_with_both_versions_is_limited_by_that_with_the_controllers(
    tmp_path: Path,
) -> None:
    hybrid = V2.format(group="/").replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")
    root = machine(
        tmp_path,
        groups="4:memory:/job\n0::/job\n",
        mounts=[V1.format(group="/", name="memory"), hybrid],
        files={"memory/job/memory.limit_in_bytes": str(GIB), "unified/job/cgroup.procs": "1"},
    )
    assert cpu_quota(root) is None
    assert memory_limit_bytes(root) == GIB


def test_a_mount_point_with_a_blank_is_found(tmp_path: Path) -> None:
    mount = V2.format(group="/").replace("/sys/fs/cgroup ", r"/sys/fs/cgroup/a\040b ")
    root = machine(tmp_path, groups="0::/\n", mounts=[mount], files={"a b/cpu.max": "50000 100000"})
    assert cpu_quota(root) == 0.5


@pytest.mark.parametrize("text", ["", "nonsense", "1 0", "\xff"])
def test_what_cannot_be_read_limits_nothing(tmp_path: Path, text: str) -> None:
    root = version_2(tmp_path, {"cpu.max": text, "memory.max": text})
    assert cpu_quota(root) is None
    assert memory_limit_bytes(root) is None
    assert cpu_quota(tmp_path / "nowhere") is memory_limit_bytes(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("quota", "cores"), [(None, 8), (0.1, 1), (1.0, 1), (1.4, 1), (1.5, 2), (3.2, 3), (64.0, 8)]
)
def test_a_limit_on_processor_time_counts_as_the_nearest_number_of_cores(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    monkeypatch.setattr(container, "cpu_quota", lambda: quota)
    assert training.usable_cores() == cores


def test_a_limit_on_memory_counts_where_it_is_lower_than_what_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(container, "memory_limit_bytes", lambda: None)
    installed = training.memory_bytes(cpu)
    for limit, expected in ((GIB // 4, GIB // 4), (2**60, installed)):
        monkeypatch.setattr(container, "memory_limit_bytes", lambda limit=limit: limit)
        assert training.memory_bytes(cpu) == expected


def test_a_process_of_a_limited_container_computes_with_no_more_threads_than_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = [64]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)))
    monkeypatch.setattr(container, "cpu_quota", lambda: None)
    training.prepare_process()
    assert threads == [64]
    monkeypatch.setattr(container, "cpu_quota", lambda: 4.0)
    training.prepare_process()
    training.prepare_process()
    assert threads == [64, 4]


def test_this_machines_own_files_are_understood() -> None:
    assert container.cpu_quota() is None or container.cpu_quota() > 0
    limit = container.memory_limit_bytes()
    assert limit is None or limit > 2**20
