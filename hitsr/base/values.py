"""`Value`, the frozen pydantic model that all specs, configs and records derive from."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, ValidationError
from pydantic_core import PydanticSerializationError

from hitsr.base.errors import SpecError, cut, did_you_mean, shortened
from hitsr.base.files import visible
from hitsr.base.names import check_name
from hitsr.base.reading import read_yaml

T = TypeVar("T")


def _each_once(entries: tuple[T, ...]) -> tuple[T, ...]:
    seen: set[T] = set()
    for each in entries:
        if each in seen:
            raise ValueError(f"{shortened(each)} is listed twice; keep one")
        seen.add(each)
    return entries


# Types of fields that users write: a number is no text and no true or false, and has limits that
# a computer can hold.
Count = Annotated[int, Strict(), Field(ge=1, le=2**16)]
CountOrNone = Annotated[int, Strict(), Field(ge=0, le=2**16)]
Steps = Annotated[int, Strict(), Field(ge=1, le=10**9)]
Number = Annotated[float, Strict()]
Distinct = Annotated[tuple[T, ...], AfterValidator(_each_once)]  # may be empty
Several = Annotated[tuple[T, ...], Field(min_length=1), AfterValidator(_each_once)]


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
            kind = "list" if isinstance(data, list) else shortened(data)
            found = "it is empty" if data is None else f"found {kind}"
            raise SpecError(f"{where}: needs fields, each `name: value`; {found}")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            lines = explained(cls, error)
            raise SpecError("\n".join(f"{where}: {line}" for line in lines)) from None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a YAML or JSON file; SpecError if it is missing, not YAML, or not valid."""
        return cls.parse(read_yaml(path), str(path))

    @classmethod
    def read_all(cls, folder: Path, what: str) -> dict[str, Self]:
        """Read all *.yaml of a folder, by file name without .yaml; `what` they are, for errors.

        SpecError names the file, key and rule, and also a file that is named *.yml.
        """
        for path in visible(folder, "*.yml"):
            raise SpecError(f"{path}: {what} are named *.yaml; rename it")
        return {_stem(path): cls.read(path) for path in visible(folder, "*.yaml")}

    def to_json(self) -> str:
        """Indented JSON that ends with a newline; SpecError for text that is no UTF-8."""
        try:
            return self.model_dump_json(indent=2) + "\n"
        except PydanticSerializationError as error:
            raise SpecError(
                f"a name is no UTF-8, which files of results need ({error}); rename that file or "
                "folder"
            ) from None


def _stem(path: Path) -> str:
    try:
        return check_name(path.stem)
    except ValueError as error:
        raise SpecError(f"{path}: {error}; rename the file") from None


# What is allowed, by pydantic's types of errors; other messages are pydantic's own or ours.
_ALLOWED = {
    "bool_type": "must be true or false",
    "dict_type": "must hold fields, each `name: value`",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "model_attributes_type": "must hold fields, each `name: value`",
    "model_type": "must hold fields, each `name: value`",
    "path_type": "must be a path; put it in quotes",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_short": "must not be empty",
    "string_unicode": "must be text without halves of characters",
    "string_type": "must be text; put it in quotes",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entries",
    "tuple_type": "must be a list, such as [a, b]",
    "union_tag_invalid": "kind must be one of {expected_tags}",
    "union_tag_not_found": "needs the field `kind`",
}


def explained(cls: type[BaseModel], error: ValidationError) -> list[str]:
    """A line for each problem that pydantic found: dotted key, what is allowed, what is there."""
    return [_explain(cls, problem) for problem in error.errors() if not _is_echo(problem)]


def _is_echo(problem: Any) -> bool:
    """Whether a list is too short only because pydantic leaves its invalid entries out."""
    if problem["type"] != "too_short":
        return False
    return len(problem["input"]) > int(problem["ctx"]["actual_length"])


def _explain(cls: type[BaseModel], problem: Any) -> str:
    models, path = _models_along(cls, [str(part) for part in problem["loc"] if part != "[key]"])
    key, got = cut(".".join(path)), shortened(problem["input"])
    match problem["type"]:
        case "extra_forbidden":
            known = {field for model in models for field in model.model_fields}
            return f"no field {key!r}; {did_you_mean(path[-1], known, '.'.join([*path[:-1], '']))}"
        case "missing" if isinstance(problem["loc"][-1], int):
            return f"{'.'.join(path[:-1])}: entry {problem['loc'][-1] + 1} is missing (got {got})"
        case "missing":
            return f"field {key!r} is missing"
        case "invalid_key":
            return f"{'.'.join(path[:-1]) or 'key'}: {got} is no name; put it in quotes"
    allowed = _ALLOWED.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    message = allowed.format(**problem.get("ctx", {})) if problem["type"] in _ALLOWED else allowed
    got = "" if isinstance(problem["input"], dict) else f" (got {got})"
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
