"""A real S3 API on this machine, and a shelf of its own for every test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import s3fs
from moto.server import ThreadedMotoServer

from fastgoal.remote import shelf, stores
from fastgoal.remote.place import Url


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[s3fs.S3FileSystem]:
    """An empty bucket `bucket` behind the usual environment, and an empty shelf."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("FASTGOAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(stores, "PAUSE", 0.001)
    forget_all(monkeypatch)
    s3fs.S3FileSystem.clear_instance_cache()
    store = s3fs.S3FileSystem()
    store.mkdir("bucket")
    yield store
    store.rm("bucket", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


def forget_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a new process would begin."""
    for name, empty in {"_facts": {}, "_listed": set(), "_room": {}}.items():
        monkeypatch.setattr(shelf, name, empty)


@pytest.fixture
def upload(s3: s3fs.S3FileSystem) -> Callable[[Path, str], Url]:
    """Copy a folder into the bucket."""

    def copied(folder: Path, name: str) -> Url:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                s3.put_file(str(path), f"bucket/{name}/{path.relative_to(folder).as_posix()}")
        return Url(f"s3://bucket/{name}")

    return copied
