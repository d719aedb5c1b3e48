"""CIFAR's archives: read once and to their end, so that gzip's checksum counts, and compared with the published MD5s."""

import gzip
import hashlib
import io
import pathlib
import tarfile
import zlib
from collections.abc import Iterable, Mapping

MOST = 400 * 2**20  # bytes that an archive may unpack to: CIFAR's are 186 MB at most
MD5 = {  # of the official files; of the batches in the archive of Python 2's pickles
    "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
    "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
    "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
    "cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8",
    "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
    "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
    "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
    "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
    "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}


def others(contents: Mapping[str, bytes]) -> list[str]:
    """The names of those files, by name, whose bytes are not the official ones; of one without a published MD5 nobody knows."""
    return [n for n, content in contents.items() if n in MD5 and hashlib.md5(content, usedforsecurity=False).hexdigest() != MD5[n]]


def members(archive: pathlib.Path, wanted: Iterable[str]) -> dict[str, bytes]:
    """The files `wanted` of a .tar.gz, by name.

    Raises:
        ValueError: it is damaged anywhere, lacks one of them, holds a folder or a link in its place, or unpacks to far more
            than CIFAR.
    """
    wanted, found = set(wanted), {}
    try:
        with gzip.open(archive) as packed, tarfile.open(fileobj=_Counted(packed), mode="r|") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if name not in wanted:
                    continue
                content = tar.extractfile(member) if member.isreg() else None
                if content is None:
                    raise _Odd(f"holds no plain file {name}")
                found[name] = content.read()
            while packed.read(2**20):  # behind the last member: up to the checksum
                if packed.tell() > MOST:
                    raise _Odd("unpacks to far more than CIFAR")
    except _Odd as error:
        raise ValueError(f"{archive} {error}: it is not CIFAR's, download it again") from None
    except (EOFError, OSError, tarfile.TarError, zlib.error, ValueError) as error:
        raise ValueError(f"{archive} is damaged ({type(error).__name__}): download it again") from None
    if lacking := sorted(wanted - found.keys()):
        raise ValueError(f"{archive} has no {lacking[0]}: it is damaged or another archive, download it again")
    return found


class _Odd(Exception):
    pass


class _Counted(io.RawIOBase):
    """A stream that ends with an error where it unpacks to more than MOST bytes."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self.stream, self.count = stream, 0

    def read(self, size: int = -1) -> bytes:
        content = self.stream.read(size)
        self.count += len(content)
        if self.count > MOST:
            raise _Odd("unpacks to far more than CIFAR")
        return content
