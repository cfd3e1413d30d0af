"""Containers by their cgroups' paths: each shape as its engine makes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execaudit.query.container import container_id, is_named

ID = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d"
OTHER = "6dc3fdffbf66b1239d55e98da9aaa759ea51ed35d04eb09d19ebd78963aa26c2"
POD = (
    "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod5759a1ae_36ca_48a8_b20a_b0b5c8a90fb8.slice"
)

SHAPES = {
    # docker: neuvector share/system/cgroup_test.go, ctrsploit issue 280, netdata pull 13470,
    # tracee pkg/datastores/container/containers.go (GitHub Actions)
    f"/docker/{ID}": ID,
    f"/system.slice/docker-{ID}.scope": ID,
    f"/{ID}": ID,
    f"/actions_job/{ID}": ID,
    f"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope": ID,
    # Kubernetes, cgroupfs and systemd drivers: kinvolk/traceloop pull 34, opentelemetry-dotnet-contrib
    # ContainerDetectorTests.cs, tkestack/vcuda-controller issue 19
    f"/kubepods/besteffort/pod91a8fc3a-0ecf-48b4-81bf-78a7275d348c/{ID}": ID,
    f"/{POD}/docker-{ID}.scope": ID,
    f"/{POD}/cri-containerd-{ID}.scope": ID,
    f"/{POD}/crio-{ID}.scope": ID,
    f"/podruntime/docker/kubepods/crio-{ID}": ID,
    # containerd whose driver is not the kubelet's: elastic/apm-agent-nodejs issue 3550,
    # opentelemetry-java issue 4507, opentelemetry-cpp's test of its resource detector
    f"/system.slice/containerd.service/kubepods-burstable-podff49d0be.slice:cri-containerd:{ID}": ID,
    f"/kuberuntime/containerd/kubepods-pod872d2066:cri-containerd:{ID}": ID,
    # nerdctl: falcosecurity/plugins pull 1378
    f"/system.slice/nerdctl-{ID}.scope": ID,
    f"/default/{ID}": ID,
    # cri-dockerd and containerd below a slice of the user's choice; Docker Desktop; CRI-O's own children
    f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope/init.scope": ID,
    f"/kubepods/pod91a8fc3a-0ecf-48b4-81bf-78a7275d348c/cri-containerd-{ID}": ID,
    f"/kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope/container": ID,
    # podman: criu's and podman's own paths, podman issue 6400 and pull 4639; --cgroups=split as
    # quadlets have it: coroot-node-agent pull 251
    f"/machine.slice/libpod-{ID}.scope": ID,
    f"/machine.slice/libpod-{ID}.scope/container": ID,
    f"/libpod_parent/libpod-{ID}": ID,
    f"/user.slice/user-1000.slice/user@1000.service/user.slice/user-libpod_pod_{OTHER}.slice/libpod-{ID}.scope/container": ID,
    f"/system.slice/app.service/libpod-payload-{ID}": ID,
    # What watches a container is not in it: tracee pull 5190, runc issue 4620
    f"/machine.slice/libpod-conmon-{ID}.scope": None,
    f"/libpod_parent/conmon/libpod-conmon-{ID}": None,
    f"/{POD}/crio-conmon-{ID}.scope": None,
    # systemd-nspawn: systemd issues 5490 and 18104, pull 38440, src/nspawn/nspawn-cgroup.c
    "/machine.slice/systemd-nspawn@web.service/payload": "web",
    "/machine.slice/systemd-nspawn@web.service/payload/system.slice/cron.service": "web",
    "/machine.slice/systemd-nspawn@web.service/supervisor": None,
    "/machine.slice/machine-web.scope": "web",
    "/machine.slice/machine-web.scope/payload/init.scope": "web",
    r"/machine.slice/machine-TEST\x2d13\x2dNSPAWN.machinectl\x2dbind.7ye.scope": "TEST-13-NSPAWN.machinectl-bind.7ye",
    r"/machine.slice/machine-caf\xc3\xa9.scope": "café",
    r"/machine.slice/machine-\xff.scope": r"\xff",
    # LXC: src/lxc/cgroups/cgfsng.c, lxc-container-default groups of 2.0 to 4.0, Proxmox VE
    "/lxc.payload.web": "web",
    "/lxc.payload.web/init.scope": "web",
    "/lxc.payload.web-1/system.slice/cron.service": "web-1",
    "/lxc.payload/web/init.scope": "web",
    "/lxc/web": "web",
    "/lxc/101/ns/system.slice/ssh.service": "101",
    "/user.slice/user-1000.slice/user@1000.service/app.slice/run.scope/lxc.payload.my.web": "my.web",
    "/lxc.monitor.web": None,
    "/lxc.monitor/web": None,
    "/lxc": None,
    "/lxc/": None,
    "/lxc.payload": None,
    "/system.slice/lxc.service": None,
    "/system.slice/lxc-net.service": None,
    f"/lxc.payload.web/docker/{ID}": ID,
    f"/docker/{ID}/lxc.payload.web/init.scope": "web",
    # What is below the container's name was cut: see append_cgroup() in bpf/cgroup.h
    f"/docker/{ID}/{'g' * 240}/{'g' * 240}/(cut)": ID,
    "/lxc/web/(cut)": "web",
    "/(cut)": None,
    # libvirt's virtual machines are registered as machines too
    r"/machine.slice/machine-qemu\x2d1\x2dweb.scope/libvirt/emulator": None,
    # The innermost: Datadog's pkg/util/cgroups/reader_cgroupv1_test.go (kind in podman)
    f"/libpod_parent/libpod-{OTHER}/{POD}/docker-{ID}.scope": ID,
    f"/docker/{OTHER}/system.slice/docker-{ID}.scope": ID,
    f"/machine.slice/systemd-nspawn@web.service/payload/docker/{ID}": ID,
    f"/docker/{ID}/machine.slice/systemd-nspawn@web.service/payload/init.scope": "web",
    f"/docker/{ID}/machine.slice/systemd-nspawn@web.service/supervisor": ID,
    f"/docker/{OTHER}/{POD}/crio-conmon-{ID}.scope": OTHER,
    # systemd in a container has groups of its own, some of them named after other containers
    f"/docker/{ID}/init.scope": ID,
    f"/libpod_parent/libpod-{OTHER}/system.slice/var-lib-docker-containers-{ID}-mounts-shm.mount": OTHER,
    # No containers
    "/": None,
    "": None,
    "/init.scope": None,
    "/user.slice/user-1000.slice/session-3.scope": None,
    "/system.slice/docker.service": None,
    "/system.slice/containerd.service": None,
    f"/{POD}": None,
    "/machine.slice": None,
    f"/system.slice/run-containerd-io.containerd.runtime.v2.task-k8s.io-{ID}-rootfs.mount": None,
    f"/docker/{ID[:63]}": None,
    f"/docker/{ID}a": None,
    f"/docker/{ID.upper()}": None,
    f"/docker/{ID[:63]}g": None,
    f"/docker-{ID}.scopes": None,
}


@pytest.mark.parametrize("cgroup", SHAPES)
def test_a_cgroup_names_its_container(cgroup: str) -> None:
    """The engine's id, or the machine's name; nothing where there is none."""
    assert SHAPES[cgroup] == container_id(cgroup.encode())


def test_an_unknown_cgroup_is_no_container() -> None:
    """Nothing is made of nothing."""
    assert container_id(None) is None


@given(st.binary())
def test_any_path_is_taken(cgroup: bytes) -> None:
    """A cgroup may have any name; what comes of it is text that UTF-8 can write."""
    (container_id(cgroup) or "").encode()


@pytest.mark.parametrize(
    ("container", "text", "expected"),
    [
        (ID, ID, True),
        (ID, ID[:4], True),
        (ID, ID[:12], True),
        (ID, ID[:3], False),
        (ID, "", False),
        (ID, ID + "0", False),
        (ID, OTHER[:12], False),
        (ID, ID[1:], False),
        ("web1", "web1", True),
        ("web10", "web1", False),
        ("w", "w", True),
        ("w", "", False),
        (None, "", False),
        (None, "None", False),
    ],
)
def test_an_id_may_be_cut_and_a_name_may_not(container: str | None, text: str, expected: bool) -> None:  # noqa: FBT001 - a case, not an option
    """Engines show the first digits of an id; a machine is another one if its name goes on."""
    assert expected == is_named(container, text)
