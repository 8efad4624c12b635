"""Real conditions of machines: interpreters under the home folder, containers, full disks, processes that are killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's")

CALL = """
import json, os, sys
from sandbox import Call, CallLimits, SandboxUnavailable
from sandbox.isolation.levels import LAYERS
from sandbox.launch.client import ForkServerSandbox

def run(level, source, layers=None, **options):
    box = ForkServerSandbox(level, layers, warm=False)
    try:
        limits = CallLimits(seconds=20, memory=256 << 20, result=1 << 16)
        return box.run(Call("sandbox.tasks.common.probe:run", {"model.py": source}, limits, options=options))
    finally:
        box.close()
"""
ALONE = """
from sandbox.isolation import linux, namespaces

uid, gid = os.geteuid(), os.getegid()
linux.unshare(namespaces._NEWUSER | namespaces._NEWNS)
for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
linux.mount(None, "/", None, namespaces._MS_REC | namespaces._MS_PRIVATE)
"""
"""In a mount namespace of its own: what is mounted there is visible to no other process."""


def python(script, *, interpreter=sys.executable, package=ROOT, **environment):
    """The JSON that a script prints, run by another process with this environment."""
    command = [str(interpreter), "-P", "-s", "-c", CALL + textwrap.dedent(script)]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(package), **environment}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, cwd="/")
    if "unshare" in done.stderr:
        pytest.skip("this machine gives no namespaces to build another one in")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def needs(*levels):
    from sandbox.isolation.levels import LAYERS
    from sandbox.launch.detect import prove
    from sandbox.sandbox import SandboxUnavailable

    for level in levels:
        try:
            prove(level, LAYERS[level])
        except SandboxUnavailable as error:
            pytest.skip(f"this machine gives no {level}: {error}")


LOOK = """
import os
def main(child):
    seen = {}
    for name in child.options["paths"]:
        try:
            seen[name] = open(name).read() if os.path.isfile(name) else sorted(os.listdir(name))
        except OSError as error:
            seen[name] = None
    import safetensors  # one of those that every program may import
    import encodings.idna
    import json
    return json.dumps([seen, safetensors.WORD]).encode()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home folder with an interpreter (as pyenv, conda and uv put it), an environment made of it, and an editable checkout."""
    home = tmp_path_factory.mktemp("home")
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    prefix = home / ".pyenv" / "versions" / "it"
    (prefix / "bin").mkdir(parents=True)
    shutil.copy(os.path.realpath(sys.executable), prefix / "bin" / version)
    heavy = ("test", "site-packages", "dist-packages", "__pycache__", "idlelib", "ensurepip", "config-*", "lib2to3", "tkinter")
    shutil.copytree(sysconfig.get_path("stdlib"), prefix / "lib" / version, ignore=shutil.ignore_patterns(*heavy))
    for library in Path(sysconfig.get_config_var("LIBDIR") or "/nonexistent").glob("libpython3*.so*"):
        shutil.copy(library, prefix / "lib")
    environment = home / "project" / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(prefix / "bin" / version)
    (environment / "pyvenv.cfg").write_text(f"home = {prefix / 'bin'}\ninclude-system-site-packages = false\n")
    packages = environment / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    (packages / "safetensors").mkdir()
    (packages / "safetensors" / "__init__.py").write_text("WORD = 'hello'\n")
    checkout = home / "src" / "guided-evolution"
    shutil.copytree(ROOT / "sandbox", checkout / "sandbox", ignore=shutil.ignore_patterns("__pycache__"))
    for name in SECRETS:
        path = home / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("a secret")
    (home / "linked").symlink_to(home / "project" / ".venv")
    return home


SECRETS = (
    ".ssh/id_rsa", "src/guided-evolution/.env", "project/notes.txt", ".pyenv/secret", "project/.venv/pip.conf",
    "project/.venv/.env", "project/.venv/bin/activate", "project/.venv/lib/notes", "project/.venv/etc/keys",
    ".pyenv/versions/it/pip.conf", ".pyenv/versions/it/bin/tool", ".pyenv/versions/it/lib/notes",
)  # fmt: skip


@pytest.mark.parametrize("level", ["full", "contained"])
@pytest.mark.parametrize("environment", ["project/.venv", "linked"])
def test_of_a_home_folder_only_the_interpreter_its_packages_and_the_sandbox_are_visible(level, environment, home):
    needs(level)
    linked = [name.replace("project/.venv", "linked") for name in SECRETS]
    names = [str(home / name) for name in dict.fromkeys((*SECRETS, *linked))] + [str(home)]
    script = f"""
    report = run({level!r}, {LOOK!r}, paths={names!r})
    assert report.ok, report
    print(report.result.decode())
    """
    checkout = home / "src" / "guided-evolution"
    libraries = {"LD_LIBRARY_PATH": str(home / ".pyenv" / "versions" / "it" / "lib")}
    interpreter = home / environment / "bin" / "python"
    observed, word = python(script, interpreter=interpreter, package=checkout, HOME=str(home), **libraries)
    assert word == "hello"
    listed = observed.pop(str(home))
    # A root of its own has just the way to what is visible.
    assert listed is None or sorted(set(listed) - {"linked"}) == [".pyenv", "project", "src"]
    assert set(observed.values()) == {None}


def test_an_environment_that_is_the_home_folder_itself_does_not_open_it(tmp_path):
    message = python(
        """
        from sandbox.isolation import levels
        sys.prefix = os.environ["HOME"]
        print(json.dumps(levels.readable_paths()))
        """,
        HOME=str(tmp_path),
    )
    assert str(tmp_path) not in message
    assert any(Path(sysconfig.get_path("stdlib")).is_relative_to(path) for path in message)


def test_a_home_folder_among_the_system_libraries_is_refused_in_a_sentence():
    message = python(
        """
        try:
            run("contained", "def main(child): return b''")
        except SandboxUnavailable as error:
            print(json.dumps(str(error)))
        """,
        HOME="/usr/lib",
    )
    assert message == "the home folder /usr/lib lies in /usr, which candidates must be able to read"


def test_a_masked_proc_as_in_a_container_gives_full_without_proc():
    needs("full")
    script = ALONE + """
linux.mount("/dev/null", "/proc/version", None, namespaces._MS_BIND)
from sandbox.launch.detect import detect
found = detect()
print(json.dumps([found.level, found.in_force, list(found.canaries.values())]))
"""
    level, in_force, canaries = python(script)
    assert level == "full"
    assert "no /proc" in in_force
    assert all(message.startswith("refused") for message in canaries)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
@pytest.mark.parametrize("level", ["contained", "reduced"])
def test_root_without_namespaces_becomes_nobody_if_every_user_can_read_the_interpreter(level):
    system = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if system is None or subprocess.run([system, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]).returncode:
        pytest.skip("there is no interpreter of the system's that is new enough")
    source = "import os\ndef main(child): return repr([os.getuid(), os.geteuid(), os.getgid(), os.getgroups()]).encode()"
    script = f"""
    report = run({level!r}, {source!r})
    print(json.dumps([report.result.decode(), report.layers]))
    """
    result, layers = python(script, interpreter=system)
    assert result == "[65534, 65534, 65534, []]"
    assert {"nobody", "no capabilities"} <= set(layers)


@pytest.mark.parametrize("when", ["before the slot server", "after it"])
def test_a_full_disk_is_the_machines_fault_and_reported(when, tmp_path):
    needs("contained")
    script = ALONE + f"""
import tempfile
folder = tempfile.tempdir = {str(tmp_path)!r}
linux.mount("tmpfs", folder, "tmpfs", 0, "size=64k,nr_inodes=6")
def fill():
    with open(folder + "/filled", "wb") as file:
        try:
            file.write(b"x" * (1 << 20))
        except OSError:
            pass
    while True:
        try:
            os.mkdir(folder + "/" + os.urandom(4).hex())
        except OSError:
            return
box = ForkServerSandbox("contained", warm=False)
call = Call("sandbox.tasks.common.probe:run", {{"model.py": "def main(child): return b''"}}, CallLimits(20, 256 << 20, 1 << 16))
try:
    if {when!r} == "after it":
        box._replace()
    fill()
    box.run(call)
except SandboxUnavailable as error:
    print(json.dumps(str(error)))
finally:
    box.close()
"""
    assert "No space left on device" in python(script)


MAIN = """
import ctypes
source = '''
import ctypes, time
def main(child):
    ctypes.CDLL(None).prctl(15, ctypes.c_char_p(child.options["comm"].encode()), 0, 0, 0)
    while True:
        time.sleep(0.01)
'''
import tempfile
tempfile.tempdir = sys.argv[1]
run(sys.argv[2], source, comm=sys.argv[3])
"""


@pytest.mark.parametrize("level", ["full", "contained", "none"])
def test_a_main_process_that_is_killed_leaves_no_process_and_no_folder(level, tmp_path, named):
    needs(level)
    comm = f"ev-{os.getpid()}-{level}"[:15]
    command = [sys.executable, "-P", "-s", "-c", CALL + MAIN, str(tmp_path), level, comm]
    main = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd="/")
    try:
        assert until(lambda: named(comm) or main.poll() is not None)
        assert named(comm)
        assert os.listdir(tmp_path)
    finally:
        main.send_signal(signal.SIGKILL)
        main.wait()
    assert until(lambda: not named(comm))
    assert until(lambda: not os.listdir(tmp_path))


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
