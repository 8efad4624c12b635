import pytest

from agent.core.errors import UserError
from agent.core.paths import prompts_folder, seeds_folder, shipped


class TestShippedFolders:
    def test_they_lie_beside_the_package(self, tmp_path):
        (tmp_path / "seeds").mkdir()
        assert shipped("seeds", tmp_path) == tmp_path / "seeds"

    def test_an_incomplete_installation_is_told(self, tmp_path):
        with pytest.raises(UserError, match="seeds/ is missing"):
            shipped("seeds", tmp_path)

    def test_this_installation_is_complete(self):
        assert (prompts_folder() / "README.md").is_file()
        assert any(seeds_folder().glob("*/seed.toml"))
