"""Ask each model one short question before anything is trained: a model that never worked is a mistake, not an outage."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from agent.core.errors import Halted, MachineError
from agent.genome import Editor, Genome, Violations
from agent.journal.events import CHECK_ID, Advised, Answered, Asked, ModelChecked, ModelsChecked, ModelsChecking, Watch
from agent.journal.store import Journal
from agent.llm import (
    Completion,
    Failover,
    LanguageModel,
    LanguageModelDown,
    LanguageModelRefused,
    Message,
    Request,
    RequestRejected,
)
from agent.operators.prompt_parts import conversation
from agent.operators.templates import Prompts
from agent.run.components import Components
from agent.run.config import LlmSection
from agent.run.context import RunContext

TRIES = 3
"""How often a model is tried before it counts as one that does not work."""
_LOOK_SECONDS = 0.2
"""Seconds between two looks whether the run was stopped meanwhile."""
_BLOCK, _FILE = "scale", "model.py"


def check_request(prompts: Prompts, llm: LlmSection) -> Request:
    """The question: the same system message, room and temperature as a run's own, and an answer that can be parsed."""
    messages = conversation(prompts, None, prompts.parts["check"].fill())
    temperature = llm.temperature[1] if llm.temperature else None
    return Request(messages, 0, temperature, llm.max_tokens[1] if llm.max_tokens else None, tries=TRIES)


def fault_of(completion: Completion, messages: tuple[Message, ...], editor: Editor) -> str:
    """What is wrong with the answer to the question, in a sentence; empty if a program comes out of it."""
    if not completion.text.strip():
        return completion.missing or "The answer is empty."
    text = messages[-1].text
    source = text.split("```python\n", 1)[1].split("```", 1)[0] if "```python\n" in text else ""
    if not source:  # the prompt was edited: nothing to parse the answer with
        return ""
    genome = Genome({_FILE: source})
    edited = editor.apply(genome, (_BLOCK,), completion.text)
    if isinstance(edited, Violations):
        return " ".join(edited.reasons)
    return "The function came back unchanged." if edited == genome else ""


@dataclass(frozen=True)
class ModelCheck:
    """The check of one process of a run."""

    run: RunContext
    prompts: Prompts
    models: Mapping[str, LanguageModel]
    editor: Editor
    failover: Failover
    watch: Watch

    def work(self, answered: Collection[str], number: int) -> None:
        """Ask every model that has not answered yet (`answered`: by the journal) and that no person writes the answers of.

        `number`: of the first question, so that those of earlier processes keep theirs. A model that does not answer rests
        if others do. Raises MachineError if none answers, Halted if the run is stopped meanwhile.
        """
        unknown = [name for name, model in self.models.items() if _can_be_asked(model) and name not in answered]
        if unknown and self.run.admission.admits():
            faults = self._ask_all(unknown, number)
            down = {name: error for name, error in faults.items() if error is not None}
            self.run.record(ModelsChecked({name: str(error or "") for name, error in faults.items()}))
            if len(down) == len(self.models):
                raise MachineError(_none_answers(down.values()))
            for name, error in down.items():
                self.failover.rest(name, str(error))
        else:
            self.run.record(ModelsChecked({}))

    def _ask_all(self, names: Iterable[str], number: int) -> dict[str, Exception | None]:
        """Ask these models at once. Returns for each why it does not work, or None."""
        request = check_request(self.prompts, self.run.config.llm)
        names = list(names)
        self.watch(ModelsChecking(tuple(names)))
        threads = ThreadPoolExecutor(len(names), thread_name_prefix="check")
        try:
            asked = {name: threads.submit(self._ask, name, number + n, request) for n, name in enumerate(names)}
            left: set[Future[Exception | None]] = set(asked.values())
            while left:
                _, left = wait(left, timeout=_LOOK_SECONDS)
                if self.run.admission.is_closed:
                    raise Halted
            return {name: future.result() for name, future in asked.items()}
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def _ask(self, name: str, number: int, request: Request) -> Exception | None:
        self.run.record(Asked(CHECK_ID, number, name, request.messages, request.temperature, request.max_tokens))
        try:
            completion = self.models[name].complete(request)
        except LanguageModelDown as down:
            # A provider that asks for a pause is there: the run can wait for it.
            if down.retry_after is None:
                return down
            self.watch(Advised(f"{_brief(down)} It asks for a pause of {down.retry_after:,.0f} s."))
            return None
        except (LanguageModelRefused, RequestRejected) as error:
            return error
        except CancelledError:  # the model was closed, because the run is ending
            raise Halted from None
        self.run.record(Answered(CHECK_ID, number, completion))
        self.failover.has_answered(name)
        self.watch(ModelChecked(name, completion.seconds))
        if fault := fault_of(completion, request.messages, self.editor):
            self.watch(Advised(f"{name} answers the check, but no program comes out of it: {fault}"))
        return None


def check_models(run: RunContext, components: Components, journal: Journal, failover: Failover, watch: Watch) -> None:
    """Ask the models of a run that have not answered in it, in an earlier process either. Raises as `ModelCheck.work`.

    Patience is for those that have answered once.
    """
    answered = {completion.model for completion in run.replay.answers.values()} & components.models.keys()
    for name in answered:
        failover.has_answered(name)
    number = sum(key.startswith(f"{CHECK_ID}/") for _, _, key, _ in journal.events("asked", key=CHECK_ID))
    ModelCheck(run, components.prompts, components.models, components.editor, failover, watch).work(answered, number)


def _can_be_asked(model: LanguageModel) -> bool:
    """`offline` cannot fail, and a person has other things to do."""
    return not model.waits_for_person and model.name != "offline"


def _brief(error: Exception) -> str:
    text = str(error).rstrip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _none_answers(errors: Iterable[Exception]) -> str:
    texts = [_brief(error) for error in errors]
    tried = "Nothing was trained." if len(texts) == 1 else f"None of {len(texts)} models answers, and nothing was trained."
    return f"{' '.join(texts)} {tried}"
