"""Data sets of files: how good ones are read, and how bad ones are refused."""

import io
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from sandbox.data import DataRequest, load
from sandbox.data import cache as data_cache
from sandbox.sandbox import TaskError

pq = pytest.importorskip("pyarrow.parquet")
pa = pytest.importorskip("pyarrow")
Image = pytest.importorskip("PIL.Image")

ROOT = Path(__file__).parents[3]
REAL = ROOT.parent / "shared" / "data"
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason="the real data sets are not beside the checkout")


def encoded(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def pictures(count, *, size=(6, 5), colour=True, seed=0):
    """Random pixels (count, height, width[, 3])."""
    shape = (count, *size, 3) if colour else (count, *size)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype="uint8")


def write_parquet(path, cells, labels, *, image="image", label="label", names=None, plain=False, **more):
    """`names`: stored as the library `datasets` does it; without them the columns must be recognised by their content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    column = list(cells) if plain else [{"bytes": cell, "path": None} for cell in cells]
    table = pa.table({image: column, label: labels, **more})
    if names:
        features = {image: {"_type": "Image"}, label: {"_type": "ClassLabel", "names": names}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=16)


def simple(folder, *, train=40, test=20, classes=4, **options):
    """Two parquet files with all classes in turn; the pixels of both."""
    parts = {}
    for part, count in (("train", train), ("test", test)):
        parts[part] = pictures(count, seed=count)
        labels = [i % classes for i in range(count)]
        write_parquet(folder / f"{part}-00000-of-00001.parquet", map(encoded, parts[part]), labels, **options)
    return parts


def write_folders(folder, count=10, classes=("cat", "dog"), **options):
    for index, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number, pixels in enumerate(pictures(count, seed=index, **options)):
            (folder / name / f"{number}.png").write_bytes(encoded(pixels))


def refusal(request, cache):
    with pytest.raises(TaskError) as error:
        load(request, cache)
    assert "\n" not in str(error.value)
    assert not [path for path in cache.glob("*") if path.name not in ("fingerprints", "secret")]  # nothing half done is left
    return str(error.value)


def stored(dataset, split):
    """Images as a set of bytes."""
    return {image.tobytes() for image in np.load(dataset.images(split))}


def test_parquet_files_become_three_splits_and_the_test_file_is_the_sealed_one(tmp_path):
    parts = simple(tmp_path / "d", names=["ant", "bee", "cow", "dog"])
    data = load(str(tmp_path / "d"), tmp_path / "c")
    assert (data.num_classes, data.channels, data.height, data.width) == (4, 3, 6, 5)
    assert dict(data.sizes) == {"train": 32, "validation": 8, "test": 20}
    assert data.class_names == ("ant", "bee", "cow", "dog")
    assert stored(data, "test") == {pixels.transpose(2, 0, 1).tobytes() for pixels in parts["test"]}
    assert np.bincount(data.targets("validation")).tolist() == [2, 2, 2, 2]
    assert not stored(data, "train") & stored(data, "validation")
    train = np.load(data.images("train"))
    assert data.mean == pytest.approx((train / 255).mean((0, 2, 3)), abs=1e-4)
    assert data.std == pytest.approx((train / 255).std((0, 2, 3)), abs=1e-4)


def test_each_image_keeps_its_label(tmp_path):
    cells = [encoded(np.full((4, 4, 3), value, "uint8")) for value in range(60)]
    write_parquet(tmp_path / "d/train.parquet", cells, [value % 3 for value in range(60)])
    data = load(str(tmp_path / "d"), tmp_path / "c")
    assert sum(data.sizes.values()) == 60
    for split in data.sizes:
        assert (np.load(data.images(split))[:, 0, 0, 0] % 3 == np.load(data.labels(split))).all()


def test_a_set_is_decoded_once_for_each_content_and_request(tmp_path, monkeypatch):
    simple(tmp_path / "d")
    first = load(str(tmp_path / "d"), tmp_path / "c")
    with monkeypatch.context() as patch:
        patch.setattr(data_cache, "_decode_all", lambda *_: pytest.fail("decoded again"))
        assert load(str(tmp_path / "d"), tmp_path / "c").folder == first.folder
        os.utime(tmp_path / "d/train-00000-of-00001.parquet")  # the same content
        assert load(str(tmp_path / "d"), tmp_path / "c").folder == first.folder
    other = load(DataRequest(str(tmp_path / "d"), image_size=(3, 3)), tmp_path / "c")
    simple(tmp_path / "d", train=44)
    changed = load(str(tmp_path / "d"), tmp_path / "c")
    assert len({first.folder, other.folder, changed.folder}) == 3


def test_class_folders_with_parts_and_without(tmp_path):
    write_folders(tmp_path / "plain", classes=("cat", "dog", "eel"))
    plain = load(str(tmp_path / "plain"), tmp_path / "c")
    assert plain.class_names == ("cat", "dog", "eel")
    assert dict(plain.sizes) == {"train": 18, "validation": 6, "test": 6}
    write_folders(tmp_path / "parts/train")
    write_folders(tmp_path / "parts/test", 3)
    parts = load(str(tmp_path / "parts"), tmp_path / "c")
    assert dict(parts.sizes) == {"train": 16, "validation": 4, "test": 6}
    assert parts.class_names == ("cat", "dog")


def test_a_share_of_the_training_images_nests_in_a_larger_one_and_leaves_the_other_splits(tmp_path):
    simple(tmp_path / "d", train=80)
    whole, half, tenth = (load(DataRequest(str(tmp_path / "d"), train_share=s), tmp_path / "c") for s in (1.0, 0.5, 0.1))
    assert [d.sizes["train"] for d in (whole, half, tenth)] == [64, 32, 4]
    assert stored(tenth, "train") < stored(half, "train") < stored(whole, "train")
    assert stored(tenth, "validation") == stored(whole, "validation")


def test_text_labels_and_other_column_names_are_found_by_their_content(tmp_path):
    cells = [encoded(p) for p in pictures(20)]
    kinds = ["oak", "elm"] * 10
    write_parquet(tmp_path / "d/data.parquet", cells, kinds, image="scan", label="kind", plain=True)
    data = load(str(tmp_path / "d"), tmp_path / "c")
    assert data.class_names == ("elm", "oak")


def test_columns_that_could_both_be_meant_have_to_be_named(tmp_path):
    cells = [encoded(p) for p in pictures(20)]
    write_parquet(tmp_path / "d/data.parquet", cells, [0, 1] * 10, label="fine", coarse=[1, 0] * 10)
    message = refusal(str(tmp_path / "d"), tmp_path / "c")
    assert message == "task.dataset: several columns could be the label: fine, coarse; name it as task.label_column."
    assert load(DataRequest(str(tmp_path / "d"), label_column="coarse"), tmp_path / "c").num_classes == 2
    message = refusal(DataRequest(str(tmp_path / "d"), label_column="rough"), tmp_path / "d2")
    assert message == "task.label_column: there is no column 'rough'; there are image, fine, coarse."


def test_a_table_without_images_is_refused_with_its_columns(tmp_path):
    write_parquet(tmp_path / "d/data.parquet", [b"no image"] * 4, [0, 1] * 2)
    assert "no column can be told to be the image: image, label" in refusal(str(tmp_path / "d"), tmp_path / "c")


def test_grey_images_are_stored_grey_and_shown_in_colour_if_that_is_asked_for(tmp_path):
    write_folders(tmp_path / "d", colour=False)
    grey = load(str(tmp_path / "d"), tmp_path / "c")
    assert grey.channels == 1
    colour = load(DataRequest(str(tmp_path / "d"), channels=3), tmp_path / "c")
    assert (np.load(colour.images("train")) == np.load(grey.images("train"))).all()
    assert len(colour.mean) == 3


def test_colour_images_become_grey_if_that_is_asked_for_and_one_colour_image_makes_a_set_coloured(tmp_path):
    write_folders(tmp_path / "d", colour=False)
    (tmp_path / "d/cat/0.png").write_bytes(encoded(pictures(1)[0]))
    assert load(str(tmp_path / "d"), tmp_path / "c").channels == 3
    assert load(DataRequest(str(tmp_path / "d"), channels=1), tmp_path / "c").channels == 1


def test_sixteen_bits_of_grey_keep_their_upper_eight(tmp_path):
    write_folders(tmp_path / "d", colour=False)
    for name in ("cat", "dog"):
        for path in (tmp_path / "d" / name).iterdir():
            Image.fromarray(np.full((6, 5), 0x80FF, "uint16")).save(path)
    data = load(str(tmp_path / "d"), tmp_path / "c")
    assert (np.load(data.images("train")) == 0x80).all()


def test_images_of_other_sizes_are_resized_to_the_most_common_and_the_facts_state_it(tmp_path):
    write_folders(tmp_path / "d", size=(8, 6))
    (tmp_path / "d/cat/0.png").write_bytes(encoded(pictures(1, size=(20, 9))[0]))
    data = load(str(tmp_path / "d"), tmp_path / "c")
    assert (data.height, data.width) == (8, 6)
    assert data.notes == ("1 of 20 images had another size and were resized to 8 x 6 pixels",)
    assert load(DataRequest(str(tmp_path / "d"), image_size=(4, 4)), tmp_path / "c").width == 4


def test_an_image_that_cannot_be_decoded_is_named_or_left_out_and_counted(tmp_path):
    write_folders(tmp_path / "d")
    (tmp_path / "d/dog/3.png").write_bytes(encoded(pictures(1)[0])[:60])
    message = refusal(str(tmp_path / "d"), tmp_path / "c")
    assert message.startswith("task.dataset: an image cannot be decoded (dog/3.png: ")
    assert message.endswith("); repair it, or set task.skip_corrupt = true.")
    data = load(DataRequest(str(tmp_path / "d"), skip_corrupt=True), tmp_path / "c")
    assert sum(data.sizes.values()) == 19
    assert data.notes == ("1 images that cannot be decoded were left out",)


def test_a_class_without_training_images_or_with_too_few_is_refused_by_name(tmp_path):
    cells = [encoded(p) for p in pictures(20)]
    write_parquet(tmp_path / "d/train.parquet", cells, [0, 2] * 10, names=["ant", "bee", "cow"])
    assert refusal(str(tmp_path / "d"), tmp_path / "c") == (
        "task.dataset: class 'bee' has no image in the training split."
    )
    write_folders(tmp_path / "few", classes=("cat", "dog"))
    for number in range(2, 10):
        (tmp_path / f"few/dog/{number}.png").unlink()
    assert refusal(str(tmp_path / "few"), tmp_path / "c2") == (
        "task.dataset: class 'dog' has 2 images; 3 are needed for one in each split."
    )


def test_a_class_that_the_test_split_lacks_is_noted(tmp_path):
    simple(tmp_path / "d", classes=4)
    write_parquet(tmp_path / "d/test-00000-of-00001.parquet", map(encoded, pictures(9)), [0, 1, 2] * 3)
    assert load(str(tmp_path / "d"), tmp_path / "c").notes == ("the test split has no image of class 3",)


def test_a_test_split_without_labels_is_replaced_by_a_fifth(tmp_path):
    simple(tmp_path / "d")
    write_parquet(tmp_path / "d/test-00000-of-00001.parquet", map(encoded, pictures(9)), [-1] * 9)
    data = load(str(tmp_path / "d"), tmp_path / "c")
    assert dict(data.sizes) == {"train": 24, "validation": 8, "test": 8}
    assert "its own test split has no labels" in data.notes[0]


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, 5] * 10, ["a", "b"], "there is a label 5, but the data names only 2 classes."),
        ([7] * 20, None, "there is only one class, so that there is nothing to tell apart."),
        ([0, None] * 10, None, "some images have no label."),
        (list(range(20)), None, "class 0 has 1 image; 3 are needed for one in each split."),
    ],
)
def test_labels_that_make_no_task_are_refused(labels, names, message, tmp_path):
    write_parquet(tmp_path / "d/train.parquet", map(encoded, pictures(20)), labels, names=names)
    assert refusal(str(tmp_path / "d"), tmp_path / "c") == f"task.dataset: {message}"


def test_an_empty_folder_a_file_and_a_broken_file_are_refused(tmp_path):
    (tmp_path / "d").mkdir()
    assert refusal(str(tmp_path / "d"), tmp_path / "c").endswith("holds no parquet file and no class folder of images.")
    (tmp_path / "d/train.parquet").write_bytes(b"PAR1 and no more")
    assert "train.parquet is not a parquet file that can be read" in refusal(str(tmp_path / "d"), tmp_path / "c")
    assert "is a file; give a hub id" in refusal(str(tmp_path / "d/train.parquet"), tmp_path / "c")


def test_a_missing_piece_of_a_set_is_noticed(tmp_path):
    write_parquet(tmp_path / "d/train-00000-of-00002.parquet", map(encoded, pictures(20)), [0, 1] * 10)
    assert "train-00001-of-00002.parquet is missing" in refusal(str(tmp_path / "d"), tmp_path / "c")


def test_several_sets_in_one_folder_must_be_distinguished(tmp_path):
    simple(tmp_path / "d/cropped")
    simple(tmp_path / "d/whole", train=48)
    assert "name one as task.subset: cropped, whole." in refusal(str(tmp_path / "d"), tmp_path / "c")
    assert load(DataRequest(str(tmp_path / "d"), subset="whole"), tmp_path / "c").sizes["train"] == 40
    assert "has no folder 'full'" in refusal(DataRequest(str(tmp_path / "d"), subset="full"), tmp_path / "c2")


def test_a_folder_of_too_many_files_and_a_set_too_large_for_the_disk_are_refused(tmp_path, monkeypatch):
    write_folders(tmp_path / "d")
    with monkeypatch.context() as patch:
        patch.setattr("sandbox.data.files.MAX_FILES", 15)
        assert "holds more than 15 files" in refusal(str(tmp_path / "d"), tmp_path / "c")
    monkeypatch.setattr(data_cache, "SPARE", 1 << 60)
    assert "20 images of 6 x 5 take 0.0 GiB in the cache" in refusal(str(tmp_path / "d"), tmp_path / "c")


def test_images_are_decoded_as_they_are_needed_and_not_held(tmp_path):
    from sandbox.data.decoding import CHUNK, in_threads

    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield "", b""

    results = in_threads(endless(), lambda raw: 1)
    assert next(results) == 1
    assert asked <= CHUNK * (2 * 16 + 2)
    results.close()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("image_size", [8], "task.image_size must be a number of pixels, or [height, width], from 1 to 4096, not [8]."),
        ("channels", 2, "task.channels must be 1 (grey) or 3 (colour), not 2."),
        ("validation_share", 1.5, "task.validation_share must be above 0 and at most 0.9, not 1.5."),
        ("train_share", 0, "task.train_share must be above 0 and at most 1, not 0."),
        ("skip_corrupt", "yes", "task.skip_corrupt must be true or false, not 'yes'."),
        ("image_column", 3, "task.image_column must be a text, not 3."),
    ],
)
def test_a_mistake_in_a_request_is_one_sentence(key, value, message):
    with pytest.raises(TaskError) as error:
        DataRequest.read({"dataset": "digits", key: value})
    assert str(error.value) == message


def test_without_the_packages_the_error_names_which_to_install(tmp_path, monkeypatch):
    simple(tmp_path / "d")
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in ("PIL", "pyarrow") else find(name))
    assert refusal(str(tmp_path / "d"), tmp_path / "c") == (
        "task.dataset: reading it needs pillow and pyarrow: "
        f"{sys.executable} -m pip install pillow pyarrow"
    )


# The hub: a real client against a loopback server that speaks as much of the hub as it asks for.

LOAD = """
import sys
from pathlib import Path
from sandbox.data import load
from sandbox.sandbox import TaskError

for name in sys.argv[2:]:
    try:
        print(load(name, Path(sys.argv[1])))
    except TaskError as error:
        print("refused:", error)
"""
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path):
    """Its address; it has one data set, `acme/shapes`."""
    simple(tmp_path / "repo/plain_text", names=["ant", "bee", "cow", "dog"])
    files = sorted(p.relative_to(tmp_path / "repo").as_posix() for p in (tmp_path / "repo").rglob("*.parquet"))

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            self.answer()

        def answer(self):
            path = self.path.split("?")[0].strip("/")
            body, kind = b'{"error": "Repository not found"}', "application/json"
            code, headers = 404, {"X-Error-Code": "RepoNotFound"}
            if path.startswith("api/datasets/acme/shapes/revision/") or path == "api/datasets/acme/shapes":
                siblings = [{"rfilename": name} for name in ["README.md", *files]]
                body = json.dumps({"id": "acme/shapes", "sha": COMMIT, "siblings": siblings}).encode()
                code, headers = 200, {}
            elif path.startswith("api/datasets/acme/shapes/tree/"):
                tree = [
                    {"type": "file", "path": n, "oid": "a" * 40, "size": (tmp_path / "repo" / n).stat().st_size}
                    for n in files
                ]
                body, code, headers = json.dumps(tree).encode(), 200, {}
            elif path.startswith("datasets/acme/shapes/resolve/"):
                body = (tmp_path / "repo" / path.split("/", 5)[5]).read_bytes()
                code, headers, kind = 200, {"ETag": f'"{len(body)}"', "X-Repo-Commit": COMMIT}, "application/octet-stream"
            self.send_response(code)
            for name, value in {**headers, "Content-Type": kind, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_):
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def load_from_hub(tmp_path, **environment):
    """What the hub answers for `acme/shapes`, and for a set that it does not have."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    env |= {"HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    command = [sys.executable, "-c", LOAD, str(tmp_path / "c"), "acme/shapes", "acme/others"]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120).stdout.splitlines()


@pytest.mark.slow
def test_a_set_of_the_hub_is_fetched_once_and_read_from_its_cache_where_the_hub_is_out_of_reach(hub, tmp_path):
    found, others = load_from_hub(tmp_path, HF_ENDPOINT=hub)
    assert "sizes={'train': 32, 'validation': 8, 'test': 20}" in found
    assert others.startswith("refused: task.dataset: the hub has no data set acme/others")
    for away in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        again, others = load_from_hub(tmp_path, **away)
        assert again == found
        assert others.startswith("refused: task.dataset: the hub cannot be reached, and acme/others is not in its cache;")


# The real sets.


@needs_real_data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "mean"),
    [("cifar10", (3, 32, 32), (0.4914, 0.4822, 0.4465)), ("fashion_mnist", (1, 28, 28), (0.2860,))],
)
def test_the_real_sets_are_what_they_are_published_to_be(name, shape, mean, tmp_path):
    data = load(str(REAL / name), tmp_path)
    assert (data.channels, data.height, data.width) == shape
    assert data.sizes["test"] == 10_000
    assert np.bincount(data.sealed_targets()).tolist() == [1000] * 10
    assert data.mean == pytest.approx(mean, abs=0.002)  # of four fifths of the training images


@needs_real_data
def test_a_part_of_real_cifar10_is_read(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/data.parquet").symlink_to(next((REAL / "cifar10").glob("test-*")))
    data = load(DataRequest(str(tmp_path / "d"), train_share=0.02), tmp_path / "c")
    assert "airplane, automobile, bird, cat" in data.about
    assert (data.channels, data.height, data.width) == (3, 32, 32)
