"""What an entry function receives, and how the candidate's sources become modules."""

from sandbox.inside.call import module_name


def test_files_become_modules():
    assert [module_name(path) for path in ("a.py", "pkg/b.py", "pkg/__init__.py", "pkg/sub/__init__.py")] == [
        "a", "pkg.b", "pkg", "pkg.sub",
    ]  # fmt: skip
