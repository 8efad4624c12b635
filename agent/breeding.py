"""Recipes -> prompts -> answers -> variants or failures, several at once. Every answer is journaled before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass

from agent.events import Answered, Asked, Bred, Memo, Record, Settled
from agent.gate import Gate, Halted
from agent.genome import Editor, Genome, Violations, changed_blocks
from agent.individual import Birth, Failure, Recipe, Variant
from agent.llm import Completion, LanguageModel, Message, Request, RequestRejected
from agent.memory import intention
from agent.operators import Combining, Context, operators, repair
from agent.prompting import Prompts


class Breeding:
    """A pool of breeders; each child is bred by one thread, call after call."""

    def __init__(
        self,
        prompts: Prompts,
        models: Mapping[str, LanguageModel],
        editor: Editor,
        record: Record,
        *,
        memo: Memo,
        gate: Gate,
        repairs: int = 1,
        concurrency: int = 8,
    ) -> None:
        """`repairs`: how often an answer that breaks the contract is sent back with the reason."""
        self._prompts, self._operators = prompts, operators(prompts)
        self._models, self._editor = models, editor
        self._record, self._memo, self._gate, self._repairs = record, memo, gate, repairs
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="breeding")

    def submit(self, birth: Birth, context: Context) -> Future[Variant | Failure]:
        """The future raises MachineError if the model's provider or the machine is at fault, Halted if the gate is shut."""
        return self._threads.submit(self._bring_forth, birth, context)

    def close(self) -> None:
        """Starts nothing new; calls that are under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _bring_forth(self, birth: Birth, context: Context) -> Variant | Failure:
        if known := self._memo.variants.get(birth.id):
            return known
        settled = self._memo.outcomes.get(birth.id)
        if isinstance(settled, Failure):
            return settled
        calls = _Calls(birth.id, self._models, self._record, self._memo, self._gate)
        genome = context.individuals[birth.recipes[0].parents[0]].genome
        said: list[str] = []
        for recipe in birth.recipes:
            edited = self._apply(recipe, genome, context, calls)
            if isinstance(edited, Violations):
                failure = Failure(birth, edited.stage, " ".join(edited.reasons))
                self._record(Settled(failure))
                return failure
            genome = edited.genome
            said += [edited.intention] if edited.intention else []
        changed = changed_blocks(context.individuals[birth.recipes[0].parents[0]].genome, genome)
        variant = Variant(birth, genome, " Then: ".join(said), changed)
        self._record(Bred(variant))
        return variant

    def _apply(self, recipe: Recipe, base: Genome, context: Context, calls: _Calls) -> _Edited | Violations:
        """One recipe: ask, edit, and send a bad answer back with what is wrong with it."""
        operator = self._operators[recipe.operator]
        if isinstance(operator, Combining):
            combined = self._editor.apply(base, (), operator.answer(recipe, base, context))
            return combined if isinstance(combined, Violations) else _Edited(combined, "")
        messages = operator.prompt(recipe, base, context)
        for attempt in range(self._repairs + 1):
            completion = calls.ask(messages, recipe)
            if isinstance(completion, Violations):
                return completion
            genome = self._editor.apply(base, recipe.blocks, completion.text)
            if not isinstance(genome, Violations):
                return _Edited(genome, intention(completion.text)[0])
            broken = genome
            if completion.finish_reason == "length":
                broken = Violations(("The answer was cut off at its length limit.", *broken.reasons), broken.stage)
            if attempt < self._repairs:
                messages = repair(self._prompts, messages, completion.text, broken.reasons)
        return broken


@dataclass(frozen=True)
class _Edited:
    genome: Genome
    intention: str


class _Calls:
    """The model calls of one child, counted, so that a resumed run finds each answer that was paid for."""

    def __init__(self, id: str, models: Mapping[str, LanguageModel], record: Record, memo: Memo, gate: Gate) -> None:
        self._id, self._models, self._record, self._memo, self._gate, self._count = id, models, record, memo, gate, 0

    def ask(self, messages: tuple[Message, ...], recipe: Recipe) -> Completion | Violations:
        call, self._count = self._count, self._count + 1
        if known := self._memo.answers.get((self._id, call)):
            return known
        self._gate.to_breed(self._id)
        self._record(Asked(self._id, call, recipe.model, messages, recipe.temperature, recipe.max_tokens))
        request = Request(messages, recipe.seed + call, recipe.temperature, recipe.max_tokens)
        try:
            completion = self._models[recipe.model].complete(request)
        except RequestRejected as rejected:
            return Violations((str(rejected),), "answer")
        except CancelledError:  # the model was closed: nobody waits for it any more
            raise Halted from None
        self._record(Answered(self._id, call, completion))
        return completion
