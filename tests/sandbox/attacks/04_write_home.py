"""Files in the user's home: new, appended, cut, moved, removed."""

import os

from tools import tried

LEAKS = "none"
ALONE = ("landlock", "namespaces")


def main(child):
    home, token = child.options["home"], child.options["token"]

    def append():
        with open(f"{home}/.bashrc", "a") as file:
            return file.write("echo hello\n")

    def create():
        with open(f"{home}/{token}", "x") as file:
            return file.write("hello")

    def cut():
        os.truncate(f"{home}/.bashrc", 0)

    def move():
        os.rename(f"{home}/.bashrc", f"{home}/{token}-moved")

    def folder():
        os.mkdir(f"{home}/{token}-folder")

    def link():
        os.symlink("/", f"{home}/{token}-link")

    def remove():
        os.unlink(f"{home}/.bashrc")

    return tried(append, create, cut, move, folder, link, remove)
