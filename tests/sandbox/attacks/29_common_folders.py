"""Files in folders that every process shares. Inside, some of them may be private ones: outside is where it counts."""

from tools import tried

LEAKS = "none"
ALONE = ("landlock", "namespaces")
JUDGED_OUTSIDE = True


def main(child):
    def within(folder):
        def write():
            with open(f"{folder}/{child.options['token']}", "w") as file:
                return file.write("hello")

        return write

    for folder in ("/dev/shm", "/tmp", "/var/tmp", "/run", "/dev/mqueue"):
        print(tried(within(folder)))
    return b"blocked"
