"""Frozen values: what specs, configs and records are made of, how they are read and hashed."""

import hashlib
import json
from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from hitsr.base.errors import SpecError, did_you_mean


class Value(BaseModel):
    """A frozen pydantic model that refuses unknown fields; equal content is equal value."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def parse(cls, data: Any, where: str) -> Self:
        """Validate plain data; SpecError names `where`, the key, the rule and the nearest name."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            lines = (_explain(cls, problem) for problem in error.errors())
            raise SpecError("\n".join(f"{where}: {line}" for line in lines)) from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a YAML or JSON file; SpecError if it is missing, not YAML, or not this value."""
        return cls.parse(read_yaml(path), str(path))

    def to_json(self) -> str:
        return self.model_dump_json(indent=2) + "\n"


def read_yaml(path: Path) -> Any:
    """Plain data of a YAML (or JSON) file; SpecError if missing or malformed."""
    try:
        return yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: not YAML: {error}") from None


def _explain(cls: type[BaseModel], problem: Any) -> str:
    models, path = _walk(cls, [str(part) for part in problem["loc"]])
    key = ".".join(path)
    if problem["type"] == "extra_forbidden":
        known = {field for model in models for field in model.model_fields}
        return f"no field {key!r}; {did_you_mean(path[-1], known, key.removesuffix(path[-1]))}"
    if problem["type"] == "missing":
        return f"field {key!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    got = "" if isinstance(problem["input"], dict) else f" (got {problem['input']!r})"
    return f"{key}: {message}{got}" if key else message


def _walk(cls: type[BaseModel], path: list[str]) -> tuple[list[type[BaseModel]], list[str]]:
    """The models that pydantic's `path` leads through, and the path without the tags of unions."""
    here, shown = [cls], []
    for part in path:
        below = [m for model in here for m in _models(model.model_fields.get(part))]
        tagged = [m for m in here if m.model_fields.get("kind") and _tag(m) == part]
        here = below or tagged or here
        if below or not tagged:
            shown.append(part)
    return here, shown


def _tag(model: type[BaseModel]) -> object:
    return model.model_fields["kind"].default


def _models(field: Any) -> list[type[BaseModel]]:
    def walk(annotation: Any) -> list[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return [annotation]
        return [model for argument in get_args(annotation) for model in walk(argument)]

    return walk(field.annotation) if field is not None else []
