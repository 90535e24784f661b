"""The base class of records, their provenance, and how their files are read."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveInt, model_validator

from hitsr.base.errors import RecordError, SpecError, shortened
from hitsr.base.files import content_of, write_text
from hitsr.base.reading import MOST_JSON, parse_json
from hitsr.base.values import Value

Hash = str
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# PSNR of 8-bit pictures: one step of one sample in 2^30 pixels is 159 dB; none is below 0.
Decibels = Annotated[float, Field(ge=0, le=160)]


class Provenance(Value):
    """Code, machine, package versions, command and duration of a measurement."""

    commit: str | None  # None outside a git checkout
    dirty: bool | None
    versions: dict[str, str]  # package -> version; python among them
    device: str  # "cpu", "cuda:0"
    device_name: str
    device_uuid: str | None = None  # of a GPU, without "GPU-"
    threads: PositiveInt
    command: str
    seed: int | None = None
    seconds: NonNegativeFloat


class Record(Value):
    """A result file: its schema, the hash of the job that made it, and provenance."""

    KIND: ClassVar[str]
    VERSION: ClassVar[int] = 2

    schema_: str = Field(alias="schema", default="")
    subject: str  # name of the run, network or set that was measured
    job_hash: Hash  # hash of the job that was measured (`plan.jobs.BaseJob.hash`)
    provenance: Provenance

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    @model_validator(mode="before")
    @classmethod
    def _schema_is_this_class(cls, data: Any) -> Any:
        return {"schema": cls.schema_name(), **data} if isinstance(data, dict) else data

    @classmethod
    def schema_name(cls) -> str:
        return f"{cls.KIND}/{cls.VERSION}"

    def save(self, path: Path) -> None:
        """Write the file completely, or leave the old one."""
        write_text(path, self.to_json())

    @classmethod
    def load(cls, path: Path, job_hash: Hash | None = None) -> Self:
        """Read a record; RecordError if it is damaged, or of another schema or job."""
        data = cls._read(path)
        found = data["schema"]
        if found != cls.schema_name():
            raise RecordError(
                f"{path}: schema is {shortened(found)}, this version reads "
                f"{cls.schema_name()!r}; delete it and rerun"
            )
        try:
            record = cls.parse(data, str(path))
        except SpecError as error:
            first, *more = str(error).splitlines()
            others = f" (and {len(more)} more)" if more else ""
            raise RecordError(f"{first}{others}: damaged record; delete it and rerun") from None
        if job_hash is not None and record.job_hash != job_hash:
            raise RecordError(
                f"{path}: holds {record.subject} as job {record.job_hash} measured it, but the "
                f"file belongs to job {job_hash}; delete it and rerun"
            )
        return record

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        """The plain data in a record's file."""
        try:
            data = parse_json(content_of(path, MOST_JSON))
        except OSError as error:
            problem = error.strerror or str(error)
        except ValueError as error:
            problem = str(error)
        else:
            if isinstance(data, dict) and "schema" in data:
                return data
            problem = f"no schema in {shortened(data)}"
        raise RecordError(f"{path}: not a record ({problem}); delete it and rerun")
