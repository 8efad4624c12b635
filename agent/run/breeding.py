"""Recipes -> prompts -> answers -> variants or failures, several at once. Every answer is journaled before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import replace

from agent.core.errors import Halted
from agent.genome import Editor, Genome, Violations, changed_blocks
from agent.journal.events import Answered, Asked, Bred, Record, Rejected, Repaired, Settled
from agent.journal.replay import Replay
from agent.llm import Completion, LanguageModel, Message, Request, RequestRejected
from agent.memory import read_intention
from agent.operators import OPERATORS, Context, ModelFreeOperator, repair
from agent.operators.repair import follow_up
from agent.operators.templates import Prompts
from agent.population.candidate import Candidate, Conversation, Failure, Recipe, Variant
from agent.run.admission import Admission
from agent.search.reflection import Question

HOTTER, HOTTEST = 1.3, 1.6
"""A second draw is asked for at this multiple of the temperature, up to there; 1.0 stands for a provider's default."""
MORE_ROOM = 2
"""An answer that was cut off is asked for again with this many times the room."""
_LOG = 600
"""Characters of a candidate's last output that are sent back."""


class BreedingPool:
    """A pool of breeders; each child is bred by one thread, call after call."""

    def __init__(
        self,
        prompts: Prompts,
        models: Mapping[str, LanguageModel],
        editor: Editor,
        record: Record,
        *,
        replay: Replay,
        admission: Admission,
        repairs: int = 1,
        redraws: int = 1,
        concurrency: int = 8,
    ) -> None:
        """`repairs`: how often an answer that breaks the contract, or a program that fails the smoke stage, is sent back.

        `redraws`: how often a program that is known, or nearly, is asked to be another.
        """
        self._prompts, self._editor, self._record, self._replay = prompts, editor, record, replay
        self._calls = _Calls(models, record, replay, admission)
        self._repairs, self._redraws = repairs, redraws
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="breeding")

    def submit(self, candidate: Candidate, context: Context) -> Future[Variant | Failure]:
        """The future raises MachineError if the model's provider or the machine is at fault, Halted if the admission is shut."""
        return self._threads.submit(self._bring_forth, candidate, context)

    def ask(self, question: Question) -> Future[str]:
        """The answer to a question about the search itself, which no child comes of; empty if the provider rejects it."""
        return self._threads.submit(self._answer, question)

    def repair(self, variant: Variant, failure: Failure) -> Variant | Failure | None:
        """Another try at a variant that failed the smoke stage, in the thread that found out; None if there is none left.

        A failure here is that of the new answer. Raises as the future of `submit` does.
        """
        conversation = variant.conversation
        if failure.stage != "smoke" or conversation is None or conversation.repaired >= self._repairs:
            return None
        reasons = [failure.reason, *([f"Its last output: {failure.log[-_LOG:]}"] if failure.log else [])]
        messages = repair(self._prompts, conversation.messages, conversation.answer, reasons)
        asked = replace(conversation, messages=messages, repaired=conversation.repaired + 1)
        conversation, edited = self._edited(variant.id, asked)
        if isinstance(edited, Violations):
            return Failure(variant.candidate, edited.stage, " ".join(edited.reasons), genome=variant.genome)
        earlier = variant.changed if len(variant.candidate.recipes) > 1 else ()
        changed = tuple(dict.fromkeys([*earlier, *changed_blocks(conversation.base, edited)]))
        meant = read_intention(conversation.answer)[0] or variant.intention
        repaired = Variant(variant.candidate, edited, meant, conversation, changed)
        self._record(Repaired(repaired, failure.reason))
        return repaired

    def close(self) -> None:
        """Starts nothing new; calls that are under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _bring_forth(self, candidate: Candidate, context: Context) -> Variant | Failure:
        settled = self._replay.outcomes.get(candidate.id)
        if known := self._replay.variants.get(candidate.id):
            return known if settled else replace(known, conversation=self._recalled(known, context))
        if isinstance(settled, Failure):
            return settled
        genome = context.individuals[candidate.recipes[0].parents[0]].genome
        said: list[str] = []
        calls, conversation = 0, None
        edited: Genome | Violations
        for recipe in candidate.recipes:
            operator = OPERATORS[recipe.operator]
            if isinstance(operator, ModelFreeOperator):
                conversation, edited = None, self._editor.apply(genome, (), operator.answer(recipe, genome, context))
                said.append(operator.intention(recipe))
            else:
                asked = Conversation(recipe, genome, operator.prompt(self._prompts, recipe, genome, context), calls=calls)
                conversation, edited = self._new(candidate.id, asked, context)
            if isinstance(edited, Violations):
                failure = Failure(candidate, edited.stage, " ".join(edited.reasons))
                self._record(Settled(failure))
                return failure
            genome, calls = edited, conversation.calls if conversation else calls
            said += [meant] if conversation and (meant := read_intention(conversation.answer)[0]) else []
        changed = changed_blocks(context.individuals[candidate.recipes[0].parents[0]].genome, genome)
        variant = Variant(candidate, genome, " Then: ".join(said), conversation, changed)
        self._record(Bred(variant))
        return variant

    def _new(self, id: str, conversation: Conversation, context: Context) -> tuple[Conversation, Genome | Violations]:
        """The edited genome; where it is known already, another one is asked for, and taken if it can be used."""
        conversation, edited = self._edited(id, conversation)
        for _ in range(self._redraws):
            if isinstance(edited, Violations) or context.known_programs is None:
                break
            if not (found := context.known_programs.describe(edited, conversation.base)):
                break
            messages = follow_up(conversation.messages, conversation.answer, self._prompts.parts["again"].fill(found=found))
            other, redrawn = self._edited(id, replace(conversation, messages=messages, recipe=_hotter(conversation.recipe)))
            if isinstance(redrawn, Violations):
                conversation = replace(conversation, calls=other.calls)
            else:
                conversation, edited = other, redrawn
        return conversation, edited

    def _edited(self, id: str, conversation: Conversation) -> tuple[Conversation, Genome | Violations]:
        """Ask, edit, and send a bad answer back with what is wrong with it."""
        for attempt in range(self._repairs + 1):
            said = self._replay.asked.get((id, conversation.calls), conversation.messages)  # as the journal has it
            completion = self._calls.ask(id, conversation.calls, said, conversation.recipe)
            conversation = replace(conversation, calls=conversation.calls + 1, messages=said)
            if isinstance(completion, Violations):
                return conversation, completion
            conversation = replace(conversation, answer=completion.text)
            edited = self._editor.apply(conversation.base, conversation.recipe.blocks, completion.text)
            if not isinstance(edited, Violations):
                return conversation, edited
            broken = edited
            self._record(Rejected(id, conversation.calls - 1, broken.stage, broken.reasons))
            if completion.finish_reason == "length":
                broken = Violations(("The answer was cut off at its length limit.", *broken.reasons), broken.stage)
                conversation = replace(conversation, recipe=_roomier(conversation.recipe))
            elif attempt < self._repairs:
                messages = repair(self._prompts, conversation.messages, completion.text, broken.reasons)
                conversation = replace(conversation, messages=messages)
        return conversation, broken

    def _answer(self, question: Question) -> str:
        recipe = Recipe("reflect", (), (), question.model, seed=0)
        completion = self._calls.ask(question.id, 0, question.messages, recipe)
        return "" if isinstance(completion, Violations) else completion.text

    def _recalled(self, variant: Variant, context: Context) -> Conversation | None:
        """The conversation that an earlier process had about this variant, as far as the journal tells it."""
        told = self._replay.conversations.get(variant.id)
        if told is None:
            return None
        recipes = variant.candidate.recipes
        base = context.individuals[recipes[0].parents[0]].genome if len(recipes) == 1 else variant.genome
        return Conversation(recipes[-1], base, told.messages, told.answer, told.calls, told.repaired)


def _hotter(recipe: Recipe) -> Recipe:
    usual = 1.0 if recipe.temperature is None else recipe.temperature
    return replace(recipe, temperature=round(max(usual, min(HOTTEST, HOTTER * usual)), 3))


def _roomier(recipe: Recipe) -> Recipe:
    return recipe if recipe.max_tokens is None else replace(recipe, max_tokens=MORE_ROOM * recipe.max_tokens)


class _Calls:
    """The model calls of all children, numbered by child, so that a resumed run finds each answer that was paid for."""

    def __init__(self, models: Mapping[str, LanguageModel], record: Record, replay: Replay, admission: Admission) -> None:
        self._models, self._record, self._replay, self._admission = models, record, replay, admission

    def ask(self, id: str, call: int, messages: tuple[Message, ...], recipe: Recipe) -> Completion | Violations:
        if known := self._replay.answers.get((id, call)):
            return known
        self._admission.to_breed(id)
        self._record(Asked(id, call, recipe.model, messages, recipe.temperature, recipe.max_tokens))
        request = Request(messages, recipe.seed + call, recipe.temperature, recipe.max_tokens)
        try:
            completion = self._models[recipe.model].complete(request)
        except RequestRejected as rejected:
            return Violations((str(rejected),), "answer")
        except CancelledError:  # the model was closed: nobody waits for it any more
            raise Halted from None
        self._record(Answered(id, call, completion))
        return completion
