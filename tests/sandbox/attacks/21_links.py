"""Ways round a path: symbolic and hard links, parents of the working folder, the root of other processes."""

import os

from tools import read, tried

LEAKS = "none"
ALONE = ("landlock", "namespaces")


def main(child):
    target = f"{child.options['home']}/.ssh/id_rsa"

    def symbolic():
        os.symlink(target, child.scratch / "link")
        return read(child.scratch / "link")

    def hard():
        os.link(target, child.scratch / "hard")
        return read(child.scratch / "hard")

    def upwards():
        return read(child.scratch / ("../" * 40 + target))

    def root_of(pid):
        return lambda: read(f"/proc/{pid}/root{target}")

    def working_folder_of(pid):
        return lambda: read(f"/proc/{pid}/cwd/{'../' * 40}{target}")

    def moved():
        os.rename(target, child.scratch / "moved")
        return read(child.scratch / "moved")

    pids = ["self", "1", os.getppid(), child.options["main"], child.options["victim"]]
    return tried(symbolic, hard, upwards, *map(root_of, pids), *map(working_folder_of, pids), moved)
