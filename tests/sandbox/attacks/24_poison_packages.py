"""A file among the installed packages, which the trusted side would import one day. Harmless, and removed at once."""

import os

from tools import tried

LEAKS = "none"
ALONE = ("landlock", "namespaces")
WRITES_PACKAGES = True


def main(child):
    def among(folder):
        def write():
            path = os.path.join(folder, child.options["token"] + ".txt")
            with open(path, "x") as file:
                file.write("hello")
            os.unlink(path)
            return folder

        return write

    return tried(*map(among, child.options["packages"]))
