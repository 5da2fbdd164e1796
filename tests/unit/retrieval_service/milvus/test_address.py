from __future__ import annotations

import base64
from pathlib import Path

import pytest

from retrieval_service.milvus.address import MilvusAddress
from twostage.errors import InvalidField


@pytest.mark.parametrize(
    ("uri", "target", "secure", "database"),
    [
        ("http://milvus:19530", "milvus:19530", False, ""),
        ("http://milvus", "milvus:19530", False, ""),
        ("https://milvus.example.org/books", "milvus.example.org:443", True, "books"),
        ("http://[::1]:5/", "[::1]:5", False, ""),
    ],
)
def test_a_cluster_is_read_from_a_uri(uri: str, target: str, secure: bool, database: str) -> None:
    address = MilvusAddress.parse(uri)
    assert (address.target, address.secure, address.database, address.path) == (target, secure, database, None)


def test_a_path_that_ends_in_db_is_a_local_file(tmp_path: Path) -> None:
    assert MilvusAddress.parse(str(tmp_path / "milvus.db")).path == tmp_path / "milvus.db"


def test_credentials_in_the_uri_are_the_token_and_are_never_shown() -> None:
    address = MilvusAddress.parse("http://ann:s%40cret@milvus:19530/books")
    assert address.token == "ann:s@cret"
    assert "cret" not in address.uri + repr(address)
    assert dict(address.metadata) == {
        "dbname": "books",
        "authorization": base64.b64encode(b"ann:s@cret").decode(),
    }
    assert MilvusAddress.parse("http://ann:secret@milvus", "key").token == "key"


@pytest.mark.parametrize(
    "uri", ["", "milvus:19530", "ftp://milvus", "http://", "http://milvus:x", "http://milvus/a/b", "http://milvus?a=b"]
)
def test_what_is_no_address_is_refused(uri: str) -> None:
    with pytest.raises(InvalidField, match=r"milvus: expected http://HOST:PORT"):
        MilvusAddress.parse(uri)


def test_a_refused_address_does_not_show_the_password() -> None:
    with pytest.raises(InvalidField) as caught:
        MilvusAddress.parse("ftp://ann:secret@milvus")
    assert "secret" not in str(caught.value)
