"""Errors that are found without running a program."""


from tests.genome.programs import apply_block, text

BINDINGS = """
    def scale(x, factor=2.0):
        global LAST
        LAST = [y for y in (x, factor) if (first := y) is not None]
        try:
            import os.path as place
            with open(place.devnull) as file:
                text = file.read()
        except (OSError, ValueError) as error:
            text = str(error)

        class Local:
            here = __qualname__
            there = here

            def method(self, *rest, key=None, **more):
                return super().__repr__(), __class__, rest, more, later

        match text:
            case [head, *tail]:
                later = head, tail
            case {"a": value, **others}:
                later = value, others
            case _:
                later = None
        for x, (y, z) in ():
            del y
        return LAST, first, Local, lambda a: (a, z, scale, __name__, __file__)
"""


def test_every_way_to_bind_a_name_counts(editor):
    assert "match text" in text(apply_block(editor, BINDINGS, "scale"))
