import pytest

from agent.genome import Editor


@pytest.fixture(scope="package")
def editor():
    editor = Editor(seconds=30.0)
    yield editor
    editor.close()
