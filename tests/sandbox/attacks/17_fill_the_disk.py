"""Three hundred megabytes into the scratch folder, where 32 are allowed."""

from tools import wait

LEAKS = "limits"
ENDS = ("disk",)


def main(child):
    try:
        for i in range(10):
            with open(child.scratch / str(i), "wb") as file:
                for _ in range(30):
                    file.write(b"x" * (1 << 20))
        wait(child)
    except OSError:
        return b"blocked"
    return b"leak: 300 MB"
