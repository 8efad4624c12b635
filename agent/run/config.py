"""The configuration of a run as frozen models, one for each section of its TOML file. Unknown keys are refused."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from agent.budget import RunLimits
from agent.core.errors import UserError
from agent.core.objectives import RELATIONS, Constraint, Direction, Objective
from agent.search.bandit import BanditSettings
from agent.search.feedback import CreditSettings, MemorySettings
from agent.search.plateau import PlateauSettings
from agent.search.reflection import ReflectionSettings
from agent.search.retraining import RetrainingSettings
from agent.search.settings import SearchSettings
from sandbox.pool.gpus import SlotLayout
from sandbox.tasks import self_reported

DEFAULT_TASK = "image-classification"


def cache_folder() -> Path:
    """Where decoded data sets are kept: `$EVOLVE_CACHE`, else the user's cache folder."""
    if chosen := os.environ.get("EVOLVE_CACHE"):
        return Path(chosen)
    return platformdirs.user_cache_path("guided-evolution")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SeedSection(_Section):
    """What evolves."""

    folder: str = ""
    """Absolute path of the seed's folder; filled in from the command line."""
    files: tuple[str, ...] = ("model.py",)
    """Source files that evolve, relative to the seed's folder. Every top-level class or function in them is a block."""
    frozen: tuple[str, ...] = ()
    """Names of blocks, constants and methods (`Net.test_step`) that must stay as they are; with several files `pkg/b.py:Net`.
    A script's are found if this is not given."""


class Endpoint(_Section):
    """Where one model is reached."""

    api_base: str
    """Address of an OpenAI-compatible server."""
    key: str = "OPENAI_API_KEY"
    """The environment variable that holds the key for it, if it wants one. Never the key itself."""


class LlmSection(_Section):
    """Which models answer, how they are asked, and what happens when one does not answer."""

    models: tuple[str, ...] = ()
    """Names of the models that share the work, as `--llm` takes them. A model that is named twice has double weight."""
    api_base: str | None = None
    """Address of an OpenAI-compatible server, which then serves every model that is not `offline`, `cmd:` or `inbox:`."""
    endpoints: dict[str, str | Endpoint] = {}
    """An OpenAI-compatible server of one model's own, by the model's name as in `models`: its address, or a table of `api_base`
    and `key`, the name of the environment variable with its key (`OPENAI_API_KEY`). The others go where `api_base` says."""
    temperature: tuple[float, float] | None = None
    """Sampling temperature, drawn uniformly from this range for each prompt. Left out: the provider's default."""
    max_tokens: tuple[int, int] | None = (16_000, 16_000)
    """Most tokens of an answer, drawn uniformly from this range for each prompt. Reasoning tokens count."""
    deadline_seconds: float = Field(default=600.0, gt=0)
    """Seconds that one answer may take, all retries included."""
    concurrency: int = Field(default=4, ge=1)
    """How many candidates are bred at once; each has at most one model call open."""
    rest_after: int = Field(default=3, ge=1)
    """A model cools down after this many failed calls in a row; the retries of a call count as one."""
    rest_seconds: float = Field(default=30.0, gt=0)
    """Seconds of the first cool-down. Each further one lasts twice as long, up to 15 minutes."""
    patience_hours: float = Field(default=12.0, ge=0)
    """How long a run waits while no model answers at all. 0: a call that no model answers ends the run."""
    repairs: int = Field(default=1, ge=0)
    """How often an answer that breaks a rule, or a program that fails the smoke stage, is sent back with the reason."""
    redraws: int = Field(default=1, ge=0)
    """How often a model is asked for another program when its answer gives one that is known already."""
    prices: dict[str, Annotated[tuple[float, ...], Field(min_length=2, max_length=3)]] = {}
    """US dollars per million tokens, `[in, out]`, by model. They take precedence over the bundled table of prices. A third number
    is the price of prompt tokens that the provider had in its cache; without it they cost as much as the others."""

    def endpoint(self, model: str) -> Endpoint | None:
        """Where this model is reached; None: at its provider."""
        match self.endpoints.get(model, self.api_base):
            case str(address):
                return Endpoint(api_base=address)
            case other:
                return other

    @field_validator("temperature", "max_tokens")
    @classmethod
    def _range(cls, value: tuple[float, float] | None, info: ValidationInfo) -> tuple[float, float] | None:
        least = 1 if info.field_name == "max_tokens" else 0
        if value is not None and not least <= value[0] <= value[1] < math.inf:
            raise ValueError(f"a range is [from, to], both finite and at least {least}")
        return value


class SandboxSection(_Section):
    """Where evaluations run."""

    slots: int | str = 1
    """Trainings at once: a number (shared by the GPUs if there are any), `2/gpu` (two on each GPU) or `cpu:2`."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of one evaluation."""
    unsafe_no_sandbox: bool = False
    """Allow a run on a machine whose isolation level is below `contained`."""

    @field_validator("slots", mode="before")
    @classmethod
    def _readable(cls, value: Any) -> Any:
        layout = SlotLayout.read(value)
        return value if layout.where else layout.count


class RunSection(_Section):
    """Seeds of all randomness."""

    seed: int = 0
    """Seed of the random generator that the search draws from."""
    training_seed: int = 0
    """Seed of every training, so that candidates differ by their code and not by luck in the batches."""
    null: bool = False
    """A null run (A/A): no model is asked, every candidate is the seed with edits that change nothing, and each is trained with
    a training seed of its own. Whatever it finds was found by chance."""


class NoiseSection(_Section):
    """How the noise floor is measured."""

    trainings: int = Field(default=3, ge=0)
    """Extra trainings of the seed before the search, each with another training seed. Their spread is the noise floor.
    0: the noise is not measured."""


class ConfirmSection(_Section):
    """How the front is confirmed: trained again on fresh training seeds, then judged on the sealed test split."""

    at_end: Literal["auto"] | bool = "auto"
    """Does a run confirm its front at its end? `auto`: if a limit is set of which a reserve is kept (hours, until, usd,
    gpu_hours). `false`: nothing is kept in reserve. `evolve confirm` works in any case."""
    trainings: int = Field(default=5, ge=1)
    """Trainings of each program, each with a training seed that nothing else of the run has used. One alone decides nothing."""
    members: int = Field(default=5, ge=1)
    """Members of the front that are confirmed at most: those that are best spread over it; of one or two, those worth most."""
    margin: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    """In sigmas of the seed over training seeds: a program that is worse by less counts as no worse."""


class Config(_Section):
    """Everything that a run depends on besides the seed's sources and the prompts."""

    preset: Literal["paper"] | None = None
    """A named set of settings; all other sources but the seed take precedence. `paper`: the paper's loop, rates and sampling."""
    seed: SeedSection = SeedSection()
    task: dict[str, Any] = {"name": DEFAULT_TASK}
    """The task that measures candidates; it reads the rest of this table."""
    budget: dict[str, Any] = {}
    """Length and limits of one evaluation; the task reads this table."""
    objectives: dict[str, Direction] = {"accuracy": "max", "parameters": "min"}
    """Two or more quantities that the task measures, each with its direction. Left out: those that the task itself names."""
    reference: dict[str, float] = {}
    """The worst acceptable value of an objective, in its own unit: the reference point of the worth. Left out: ten units below
    the seed, or the objective's constraint where that is nearer."""
    constraints: dict[str, str] = {}
    """Bounds by quantity, such as `parameters = "<= 500000"`. A candidate outside is a failure, if possible before training."""
    search: SearchSettings = SearchSettings()
    contest: BanditSettings = BanditSettings()
    credit: CreditSettings = CreditSettings()
    memory: MemorySettings = MemorySettings()
    plateau: PlateauSettings = PlateauSettings()
    thoughts: ReflectionSettings = ReflectionSettings()
    noise: NoiseSection = NoiseSection()
    retrain: RetrainingSettings = RetrainingSettings()
    confirm: ConfirmSection = ConfirmSection()
    limits: RunLimits = RunLimits()
    """What the whole run may spend."""
    llm: LlmSection = LlmSection()
    sandbox: SandboxSection = SandboxSection()
    run: RunSection = RunSection()

    @field_validator("objectives")
    @classmethod
    def _at_least_two(cls, value: dict[str, Direction]) -> dict[str, Direction]:
        if len(value) < 2:
            raise ValueError("a run needs at least two objectives, such as accuracy and parameters")
        return value

    def objective_list(self) -> tuple[Objective, ...]:
        reasons = self_reported(self.task, self.objectives)
        return tuple(Objective(name, direction, reasons.get(name, "")) for name, direction in self.objectives.items())

    def constraint_list(self) -> tuple[Constraint, ...]:
        """Raises UserError for a bound that cannot be read."""
        return tuple(_constraint(name, text) for name, text in self.constraints.items())

    def to_toml(self) -> str:
        table = without_none(self.model_dump(mode="json"))
        plain = tomli_w.dumps(table)
        # TOML makes one line break of the two characters in a text of several lines.
        return plain if "\\r" in plain else tomli_w.dumps(table, multiline_strings=True)


def _constraint(name: str, text: str) -> Constraint:
    relation, _, bound = text.strip().partition(" ")
    try:
        if relation in RELATIONS:
            limit = float(bound)
            if math.isfinite(limit):
                return Constraint(name, relation, limit)
    except ValueError:
        pass
    raise UserError(f'constraints.{name} = "{text}" must look like "<= 500000" (a relation, a space, a number).')


def without_none(value: Any) -> Any:
    """The tables without the keys whose value is None: TOML has no null, and an absent key means its default."""
    if isinstance(value, dict):
        return {k: without_none(v) for k, v in value.items() if v is not None}
    return value
