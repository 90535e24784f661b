"""`Value`, the frozen pydantic model that all specs, configs and records derive from."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from hitsr.base.errors import DataError, SpecError, did_you_mean, shortened

UTF_8 = "utf-8-sig"  # of files that users edit: some editors put a byte order mark first


class Value(BaseModel):
    """A frozen pydantic model that refuses unknown fields; models of equal content are equal."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON (keys sorted, no spaces)."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def parse(cls, data: Any, where: str) -> Self:
        """Validate plain data.

        Raises SpecError with a line per problem: `where` (such as a file), the key, what is wrong,
        and for an unknown key the known key closest to it.
        """
        if not isinstance(data, dict | cls):
            found = "it is empty" if data is None else f"found {type(data).__name__}"
            raise SpecError(f"{where}: needs fields, each `name: value`; {found}")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            lines = (_explain(cls, problem) for problem in error.errors())
            raise SpecError("\n".join(f"{where}: {line}" for line in lines)) from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a YAML or JSON file; SpecError if it is missing, not YAML, or not valid."""
        return cls.parse(read_yaml(path), str(path))

    def to_json(self) -> str:
        """Indented JSON that ends with a newline."""
        return self.model_dump_json(indent=2) + "\n"


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value!r} is given twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The plain data in a YAML or JSON file; SpecError if the file is missing or malformed."""
    try:
        return yaml.load(path.read_text(encoding=UTF_8), _UniqueKeys)
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: not YAML: {error}") from None


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file of the repository, by column; DataError if it cannot be read."""
    try:
        with path.open(encoding=UTF_8, newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "not UTF-8")
        raise DataError(f"{path}: {why}; restore it from the repository") from None


def _explain(cls: type[BaseModel], problem: Any) -> str:
    """One line about one of pydantic's errors, with the full dotted key."""
    models, path = _models_along(cls, [str(part) for part in problem["loc"]])
    key = ".".join(path)
    if problem["type"] == "extra_forbidden":
        known = {field for model in models for field in model.model_fields}
        return f"no field {key!r}; {did_you_mean(path[-1], known, key.removesuffix(path[-1]))}"
    if problem["type"] == "missing":
        return f"field {key!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    got = "" if isinstance(problem["input"], dict) else f" (got {shortened(problem['input'])})"
    return f"{key}: {message}{got}" if key else message


def _models_along(cls: type[BaseModel], path: list[str]) -> tuple[list[type[BaseModel]], list[str]]:
    """The models that the end of `path` may belong to, and the path as a user would write it.

    In a tagged union, pydantic puts the tag (the value of `kind`) into the path: it selects the
    model, and is left out of the path returned.
    """
    models, shown = [cls], []
    for part in path:
        inner = [m for model in models for m in _field_models(model.model_fields.get(part))]
        tagged = [m for m in models if "kind" in m.model_fields and _tag(m) == part]
        models = inner or tagged or models
        if inner or not tagged:
            shown.append(part)
    return models, shown


def _tag(model: type[BaseModel]) -> object:
    return model.model_fields["kind"].default


def _field_models(field: Any) -> list[type[BaseModel]]:
    """All models in a field's annotation, also inside unions and containers."""

    def walk(annotation: Any) -> list[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return [annotation]
        return [model for argument in get_args(annotation) for model in walk(argument)]

    return walk(field.annotation) if field is not None else []
