"""Repositories of a user, and what git itself reports about them."""

import subprocess

SOURCE = "class Net:\n    width = 1\n"
OTHER = "class Net:\n    width = 2\n"


def git(folder, *arguments, input=None):
    someone = ("-c", "user.name=Someone", "-c", "user.email=someone@example.org")
    command = ["git", "--no-optional-locks", *someone, *arguments]
    done = subprocess.run(command, cwd=folder, input=input, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def make_repository(folder, files=None):
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "trunk")
    for path, text in (files or {"model.py": SOURCE, "README.md": "Mine.\n"}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text.encode())
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "A start")
    return folder


def user_state(repository, folder=None):
    """All that belongs to the user. `folder`: the .git folder, where it is not in the work tree."""
    folder = folder or repository / ".git"
    files = {p: p.read_bytes() for p in repository.rglob("*") if p.is_file() and ".git" not in p.parts}
    index = folder / "index"
    return {
        "head": (folder / "HEAD").read_bytes(),
        "index": (index.read_bytes(), index.stat().st_mtime_ns) if index.exists() else None,
        "status": git(repository, "status", "--porcelain=v2", "--branch", "--untracked-files=all"),
        "config": (folder / "config").read_bytes() if (folder / "config").exists() else None,
        "files": files,
        "top": sorted({p.name for p in folder.iterdir()} - {"logs"}),  # logs of references that are ours
        "branches": [b for b in refs(repository, "refs/heads") if "evolve" not in b],
    }


def refs(repository, pattern):
    return git(repository, "for-each-ref", "--format=%(refname)", pattern).splitlines()


def show(repository, commit, path="model.py"):
    return subprocess.run(
        ["git", "cat-file", "blob", f"{commit}:{path}"], cwd=repository, capture_output=True, check=True
    ).stdout


def parents(repository, commit):
    return git(repository, "log", "-1", "--format=%P", commit).split()


def assert_sound(repository):
    assert git(repository, "fsck", "--strict", "--no-dangling") == ""
