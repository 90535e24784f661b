"""One node of Slurm on this machine, from Debian's packages: munge, slurmctld and slurmd.

All its files are in one folder. Slurm's commands look for its configuration in /etc/slurm, so links
to it stand there meanwhile; where a configuration stands already, nothing is started.
"""

import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

DEADLINE_S = 600  # far above what any step takes: it only ends what hangs
ETC = Path("/etc/slurm")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "setpriv")
# The stand-in for a GPU is the device of zeros. A job that is put back into the queue waits as long
# as `cred_expire` says.
CONFIGURATION = """\
ClusterName=alone
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CommunicationParameters=NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=bf_interval=2,sched_interval=2
SlurmdParameters=config_overrides
MinJobAge=6000
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000 Gres=gpu:1 State=UNKNOWN
PartitionName=small Nodes={host} Default=YES State=UP
PartitionName=large Nodes={host} State=UP
"""


def asked(*command: str) -> str:
    """What a command of Slurm prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def wait_until(what: Callable[[], bool], words: str) -> None:
    latest = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < latest, words
        time.sleep(0.1)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder beside a running Slurm of one node, whose logs are in it."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"{missing[0]} is not installed: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("Slurm's node can only be started by root")
    if not ETC.is_dir():
        pytest.skip(f"{ETC}: no such folder, where this Slurm's commands look for slurm.conf")
    standing = [path for path in (ETC / "slurm.conf", ETC / "gres.conf") if path.exists()]
    if standing:
        pytest.skip(f"{standing[0]} is that of another Slurm")
    with _running(tmp_path_factory.mktemp("slurm")) as folder:
        yield folder


@contextmanager
def _running(folder: Path) -> Iterator[Path]:
    host = platform.node().partition(".")[0]
    text = CONFIGURATION.format(host=host, folder=folder, ports=_free_ports())
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text("Name=gpu File=/dev/zero\n")
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    with ExitStack() as stack:
        for name in ("slurm.conf", "gres.conf"):
            link = ETC / name
            link.unlink(missing_ok=True)  # of a test that was killed: its file is gone
            link.symlink_to(folder / name)
            stack.callback(link.unlink)
        munge = [
            f"--{name}={folder}/munge.{name.partition('-')[0]}"
                 for name in ("socket", "pid-file", "log-file", "seed-file")]  # fmt: skip
        stack.enter_context(_daemon("munged", "-F", "--force", f"--key-file={key}", *munge))
        wait_until((folder / "munge.socket").exists, "munged did not start")
        stack.enter_context(_daemon("slurmctld", "-D", "-c"))
        stack.enter_context(_daemon("slurmd", "-D", "-c"))
        wait_until(lambda: "idle" in _answer("sinfo", "-h", "-o", "%t"), "the node is not idle")
        stack.callback(_end_jobs)
        yield folder


def _end_jobs() -> None:
    asked("scancel", "--user=root")
    wait_until(lambda: not asked("squeue", "-h"), "jobs do not end")


@contextmanager
def _daemon(*command: str) -> Iterator[None]:
    """Run a daemon in the foreground, which ends with this process however that ends."""
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig=KILL", *command],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answer(*command: str) -> str:
    """What a command prints; nothing of one that fails, as before the daemons answer."""
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S).stdout


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
