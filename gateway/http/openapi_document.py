"""An OpenAPI 3.1 document from the protos' descriptors and their comments (https://spec.openapis.org/oas/v3.1.0).

Messages become schemas in the standard JSON mapping: lowerCamelCase names, 64-bit integers as text, enums by name,
times as RFC 3339 text. No field is required: one that is left out has its default value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import grpc
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

from gateway.http.calls import METHODS, SERVICE
from gateway.http.errors import code_name
from twostage.rpc.http_status import HTTP_STATUS

# Field numbers within descriptors, which comments are found by.
_MESSAGES, _ENUMS, _SERVICES = 4, 5, 6
_FIELDS, _VALUES, _METHODS = 2, 2, 2

_F = FieldDescriptorProto
_SCALARS: Mapping[int, Mapping[str, Any]] = {
    _F.TYPE_DOUBLE: {"type": "number", "format": "double"},
    _F.TYPE_FLOAT: {"type": "number", "format": "float"},
    _F.TYPE_INT32: {"type": "integer", "format": "int32"},
    _F.TYPE_UINT32: {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    _F.TYPE_INT64: {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"},
    _F.TYPE_BOOL: {"type": "boolean"},
    _F.TYPE_STRING: {"type": "string"},
    _F.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_KNOWN_MESSAGES: Mapping[str, Mapping[str, Any]] = {
    ".google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    ".google.protobuf.Duration": {"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?s$"},
}
_TIMEOUT = {
    "name": "Connect-Timeout-Ms",
    "in": "header",
    "description": "How long the caller waits, in milliseconds; the gateway's default deadline when left out.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,10}$"},
}
_ERROR: Mapping[str, Any] = {
    "type": "object",
    "description": "Why a request was not answered.",
    "required": ["code"],
    "properties": {
        "code": {
            "type": "string",
            "description": "The gRPC code.",
            "enum": sorted(code_name(code) for code in grpc.StatusCode if code is not grpc.StatusCode.OK),
        },
        "message": {"type": "string", "description": "One sentence: which field, what was expected, what came."},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "value"],
                "properties": {
                    "type": {
                        "type": "string",
                        "description": "google.rpc.ErrorInfo, google.rpc.BadRequest or google.rpc.RetryInfo.",
                    },
                    "value": {"type": "string", "description": "The message in base64 without padding."},
                    "debug": {"type": "object", "description": "The message in JSON."},
                },
            },
        },
    },
}
_HTTP_ALONE = {
    405: "Another HTTP method.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is no application/json.",
}


class _Found(NamedTuple):
    """A message or an enum and its comment's place."""

    file: FileDescriptorProto
    path: tuple[int, ...]
    kind: DescriptorProto | EnumDescriptorProto


def openapi_document(files: FileDescriptorSet, *, version: str) -> dict[str, Any]:
    """Makes the document.

    Args:
        files: The gateway's proto and all it imports, with source info.
        version: The program's version.
    """
    writer = _Writer(files)
    paths: dict[str, Any] = {}
    file, service, index = writer.service(SERVICE.full_name)
    for position, method in enumerate(service.method):
        comment = writer.comment(file, (_SERVICES, index, _METHODS, position))
        paths[METHODS[method.name].plain_path] = {
            "post": {
                "operationId": method.name[0].lower() + method.name[1:],
                "summary": comment.partition(". ")[0].rstrip(".") + ".",
                "description": comment,
                "parameters": [_TIMEOUT],
                "requestBody": {"required": True, "content": _json(writer.reference(method.input_type))},
                "responses": {
                    "200": {"description": "The answer.", "content": _json(writer.reference(method.output_type))},
                    **_error_responses(),
                },
            }
        }
    paths |= _other_paths()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Twostage",
            "version": version,
            "description": f"{writer.comment(file, (_SERVICES, index))} JSON over HTTP for the gRPC service "
            f"{SERVICE.full_name}: the same methods, limits and errors. A field that is left out has its default "
            "value; one that the contract does not know is refused. Descriptions spell fields as the protos do, "
            "e.g. `recent_item_ids`; both that and `recentItemIds` are taken. Clients of the Connect protocol find "
            f"each method at `/{SERVICE.full_name}/<Method>` too.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"apiKey": []}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR, **dict(sorted(writer.schemas().items()))},
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    }


class _Writer:
    """Schemas of what is asked for, and of all that these name."""

    def __init__(self, files: FileDescriptorSet) -> None:
        self._files = files
        self._found: dict[str, _Found] = {}
        self._wanted: dict[str, None] = {}
        self._comments: dict[str, dict[tuple[int, ...], str]] = {}
        for file in files.file:
            scope = f".{file.package}"
            for place, enum in enumerate(file.enum_type):
                self._found[f"{scope}.{enum.name}"] = _Found(file, (_ENUMS, place), enum)
            for place, message in enumerate(file.message_type):
                self._add(file, scope, (_MESSAGES, place), message)
            self._comments[file.name] = {
                tuple(each.path): " ".join(each.leading_comments.split())
                for each in file.source_code_info.location
                if each.leading_comments
            }

    def service(self, full_name: str) -> tuple[FileDescriptorProto, ServiceDescriptorProto, int]:
        """A service, the file it is in, and its place there.

        Raises:
            KeyError: There is none of this name.
        """
        for file in self._files.file:
            for index, service in enumerate(file.service):
                if f"{file.package}.{service.name}" == full_name:
                    return file, service, index
        raise KeyError(full_name)

    def comment(self, file: FileDescriptorProto, path: tuple[int, ...]) -> str:
        """The comment before something, on one line; empty where there is none."""
        return self._comments[file.name].get(path, "")

    def reference(self, name: str) -> dict[str, Any]:
        """The schema of a message or an enum, by reference."""
        known = _KNOWN_MESSAGES.get(name)
        if known is not None:
            return dict(known)
        self._wanted[name] = None
        return {"$ref": f"#/components/schemas/{_short(name)}"}

    def schemas(self) -> dict[str, Any]:
        """All schemas that were named, and those that they name."""
        written: dict[str, Any] = {}
        while missing := [name for name in self._wanted if _short(name) not in written]:
            for name in missing:
                written[_short(name)] = self._schema(self._found[name])
        return written

    def _add(self, file: FileDescriptorProto, scope: str, path: tuple[int, ...], message: DescriptorProto) -> None:
        name = f"{scope}.{message.name}"
        self._found[name] = _Found(file, path, message)
        for place, nested in enumerate(message.nested_type):
            self._add(file, name, (*path, 3, place), nested)

    def _schema(self, found: _Found) -> dict[str, Any]:
        described = {"description": self.comment(found.file, found.path)}
        if isinstance(found.kind, EnumDescriptorProto):
            values = [
                f"{value.name}: {self.comment(found.file, (*found.path, _VALUES, place))}"
                for place, value in enumerate(found.kind.value)
            ]
            described["description"] += "\n\n" + "\n".join(f"- {line}" for line in values)
            return {"type": "string", "enum": [value.name for value in found.kind.value], **described}
        properties = {field.json_name: self._field(found, place, field) for place, field in enumerate(found.kind.field)}
        return {"type": "object", **described, "properties": properties}

    def _field(self, found: _Found, place: int, field: FieldDescriptorProto) -> dict[str, Any]:
        described = {"description": self.comment(found.file, (*found.path, _FIELDS, place))}
        entry = self._map_entry(field)
        if entry is not None:
            value = next(each for each in entry.field if each.name == "value")
            return {"type": "object", "additionalProperties": self._type(value), **described}
        if field.label == _F.LABEL_REPEATED:
            return {"type": "array", "items": self._type(field), **described}
        return {**self._type(field), **described}

    def _type(self, field: FieldDescriptorProto) -> dict[str, Any]:
        if field.type in {_F.TYPE_MESSAGE, _F.TYPE_ENUM}:
            return self.reference(field.type_name)
        return dict(_SCALARS[field.type])

    def _map_entry(self, field: FieldDescriptorProto) -> DescriptorProto | None:
        if field.type != _F.TYPE_MESSAGE or field.type_name in _KNOWN_MESSAGES:
            return None
        kind = self._found[field.type_name].kind
        return kind if isinstance(kind, DescriptorProto) and kind.options.map_entry else None


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _error_responses() -> dict[str, Any]:
    return {
        status: {"description": words, "content": _json({"$ref": "#/components/schemas/Error"})}
        for status, words in _error_statuses()
    }


def _error_statuses() -> Iterator[tuple[str, str]]:
    by_status: dict[int, list[str]] = {}
    for code, status in HTTP_STATUS.items():
        by_status.setdefault(status, []).append(code_name(code))
    told = {status: f"{', '.join(codes)}." for status, codes in by_status.items() if status != 499}
    for status, words in sorted({**told, **_HTTP_ALONE}.items()):
        yield str(status), words


def _other_paths() -> dict[str, Any]:
    text = {"text/plain": {"schema": {"type": "string"}}}

    def get(operation: str, summary: str, content: Mapping[str, Any], *, may_fail: bool = False) -> dict[str, Any]:
        responses: dict[str, Any] = {"200": {"description": "It does.", "content": content}}
        if may_fail:
            responses["503"] = {"description": "It does not, and says why.", "content": text}
        return {"get": {"operationId": operation, "summary": summary, "security": [{}], "responses": responses}}

    document = {"application/json": {"schema": {"type": "object"}}}
    return {
        "/healthz": get("healthz", "Whether this server works.", text),
        "/readyz": get("readyz", "Whether the gateway behind this server answers requests.", text, may_fail=True),
        "/openapi.json": get("openapi", "This document.", document),
    }
