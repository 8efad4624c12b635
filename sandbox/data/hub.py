"""Data sets of the Hugging Face hub: their parquet files, downloaded once into the hub's own cache."""

from __future__ import annotations

from pathlib import Path

from sandbox.sandbox import TaskError

CONVERTED = "refs/convert/parquet"
"""The revision in which the hub keeps parquet files that it converted itself from another format."""
PATTERNS = ("*.parquet", "**/*.parquet")


def fetch(name: str) -> Path:
    """Download the data set `name` and return its folder. If the hub cannot be reached, use the copy in the hub's cache.

    Raises TaskError. Respects the hub's environment variables HF_HOME, HF_TOKEN, HF_HUB_OFFLINE and HF_ENDPOINT.
    """
    for revision in ("main", CONVERTED):
        folder = _snapshot(name, revision)
        if folder is not None and any(folder.rglob("*.parquet")):
            return folder
    raise TaskError(f"task.dataset: {name} has no parquet files on the hub.")


def _snapshot(name: str, revision: str) -> Path | None:
    """Download the parquet files of a revision; None if the data set has no such revision."""
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(snapshot_download(name, repo_type="dataset", revision=revision, allow_patterns=list(PATTERNS)))
    except RevisionNotFoundError:
        return None
    except GatedRepoError:
        message = f"{name} asks its users to agree to terms first: do so on the hub, and set HF_TOKEN."
        raise TaskError(f"task.dataset: {message}") from None
    except RepositoryNotFoundError:
        raise TaskError(f"task.dataset: the hub has no data set {name} (or it is private and HF_TOKEN is not set).") from None
    except LocalEntryNotFoundError:
        if revision != "main":
            return None
        raise TaskError(
            f"task.dataset: the hub cannot be reached, and {name} is not in its cache; download it once while online, or "
            "give a folder of its parquet files."
        ) from None
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        raise TaskError(f"task.dataset: {name} cannot be downloaded: {str(error).splitlines()[0]}.") from None
