"""Where MNIST and its like come from, and their files' contents. No torch."""

from typing import NamedTuple

from trainwright.data.fetch import data_root, fetch
from trainwright.data.idx_file import Array, read_bytes

NUM_TRAIN, NUM_TEST, IMAGE_SIZE = 60_000, 10_000, 28


class Source(NamedTuple):
    """Where a dataset's four files come from: size in bytes and SHA-256 of each."""

    mirrors: tuple[str, ...]
    files: dict[str, tuple[int, str]]
    class_names: tuple[str, ...]


TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"

SOURCES = {
    # http://yann.lecun.com/exdb/mnist
    "mnist": Source(
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        files={
            TRAIN_IMAGES: (
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            TRAIN_LABELS: (
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            TEST_IMAGES: (
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            TEST_LABELS: (
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        },
        class_names=tuple("0123456789"),
    ),
    # https://github.com/zalandoresearch/fashion-mnist; sizes and hashes as in TensorFlow Datasets
    "fashion_mnist": Source(
        mirrors=(
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        files={
            TRAIN_IMAGES: (
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            TRAIN_LABELS: (
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            TEST_IMAGES: (
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            TEST_LABELS: (
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        },
        class_names=(
            "t-shirt",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        ),
    ),
    # http://codh.rois.ac.jp/kmnist; sizes and hashes as in TensorFlow Datasets
    "kmnist": Source(
        mirrors=("https://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        files={
            TRAIN_IMAGES: (
                18_165_135,
                "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            ),
            TRAIN_LABELS: (
                29_497,
                "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            ),
            TEST_IMAGES: (
                3_041_136,
                "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            ),
            TEST_LABELS: (
                5_120,
                "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
            ),
        },
        class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    ),
}


def is_there(name: str, root: str | None) -> bool:
    """Whether none of a dataset's files would have to be downloaded."""
    folder = data_root(root) / name
    return all((folder / file).exists() for file in SOURCES[name].files)


def read(name: str, root: str | None) -> dict[str, Array]:
    """The shape and the bytes in each file of a dataset, which are downloaded where missing.

    Raises DataError for files that are missing or damaged.
    """
    source, folder = SOURCES[name], data_root(root) / name
    arrays = {}
    for file, (size, sha256) in source.files.items():
        urls = [mirror + file for mirror in source.mirrors]
        arrays[file] = read_bytes(fetch(urls, folder / file, sha256=sha256, size=size))
    return arrays
