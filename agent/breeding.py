"""Recipes -> prompts -> answers -> variants or failures, several at once. Every answer is journaled before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import replace

from agent.events import Answered, Asked, Bred, Memo, Mended, Record, Rejected, Settled
from agent.gate import Gate, Halted
from agent.genome import Editor, Genome, Violations, changed_blocks
from agent.individual import Birth, Failure, Recipe, Talk, Variant
from agent.llm import Completion, LanguageModel, Message, Request, RequestRejected
from agent.memory import intention
from agent.operators import Combining, Context, operators, repair
from agent.operators.repair import follow_up
from agent.prompting import Prompts
from agent.reflection import Question

HOTTER, HOTTEST = 1.3, 1.6
"""A second draw is asked for at this multiple of the temperature, up to there; 1.0 stands for a provider's default."""
MORE_ROOM = 2
"""An answer that was cut off is asked for again with this many times the room."""
_LOG = 600
"""Characters of a candidate's last output that are sent back."""


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
        redraws: int = 1,
        concurrency: int = 8,
    ) -> None:
        """`repairs`: how often an answer that breaks the contract, or a program that fails the smoke stage, is sent back.

        `redraws`: how often a program that is known, or nearly, is asked to be another.
        """
        self._prompts, self._operators = prompts, operators(prompts)
        self._editor, self._record, self._memo = editor, record, memo
        self._calls = _Calls(models, record, memo, gate)
        self._repairs, self._redraws = repairs, redraws
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="breeding")

    def submit(self, birth: Birth, context: Context) -> Future[Variant | Failure]:
        """The future raises MachineError if the model's provider or the machine is at fault, Halted if the gate is shut."""
        return self._threads.submit(self._bring_forth, birth, context)

    def ask(self, question: Question) -> Future[str]:
        """The answer to a question about the search itself, which no child comes of; empty if the provider rejects it."""
        return self._threads.submit(self._answer, question)

    def mend(self, variant: Variant, failure: Failure) -> Variant | Failure | None:
        """Another try at a variant that failed the smoke stage, in the thread that found out; None if there is none left.

        A failure here is that of the new answer. Raises as the future of `submit` does.
        """
        talk = variant.talk
        if failure.stage != "smoke" or talk is None or talk.mended >= self._repairs:
            return None
        reasons = [failure.reason, *([f"Its last output: {failure.log[-_LOG:]}"] if failure.log else [])]
        messages = repair(self._prompts, talk.messages, talk.answer, reasons)
        talk, edited = self._edited(variant.id, replace(talk, messages=messages, mended=talk.mended + 1))
        if isinstance(edited, Violations):
            return Failure(variant.birth, edited.stage, " ".join(edited.reasons), genome=variant.genome)
        earlier = variant.changed if len(variant.birth.recipes) > 1 else ()
        changed = tuple(dict.fromkeys([*earlier, *changed_blocks(talk.base, edited)]))
        mended = Variant(variant.birth, edited, intention(talk.answer)[0] or variant.intention, talk, changed)
        self._record(Mended(mended, failure.reason))
        return mended

    def close(self) -> None:
        """Starts nothing new; calls that are under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _bring_forth(self, birth: Birth, context: Context) -> Variant | Failure:
        settled = self._memo.outcomes.get(birth.id)
        if known := self._memo.variants.get(birth.id):
            return known if settled else replace(known, talk=self._recalled(known, context))
        if isinstance(settled, Failure):
            return settled
        genome = context.individuals[birth.recipes[0].parents[0]].genome
        said: list[str] = []
        calls, talk = 0, None
        edited: Genome | Violations
        for recipe in birth.recipes:
            operator = self._operators[recipe.operator]
            if isinstance(operator, Combining):
                talk, edited = None, self._editor.apply(genome, (), operator.answer(recipe, genome, context))
                said.append(operator.intention(recipe))
            else:
                asked = Talk(recipe, genome, operator.prompt(recipe, genome, context), calls=calls)
                talk, edited = self._new(birth.id, asked, context)
            if isinstance(edited, Violations):
                failure = Failure(birth, edited.stage, " ".join(edited.reasons))
                self._record(Settled(failure))
                return failure
            genome, calls = edited, talk.calls if talk else calls
            said += [meant] if talk and (meant := intention(talk.answer)[0]) else []
        changed = changed_blocks(context.individuals[birth.recipes[0].parents[0]].genome, genome)
        variant = Variant(birth, genome, " Then: ".join(said), talk, changed)
        self._record(Bred(variant))
        return variant

    def _new(self, id: str, talk: Talk, context: Context) -> tuple[Talk, Genome | Violations]:
        """The edited genome; where it is known already, another one is asked for, and taken if it can be used."""
        talk, edited = self._edited(id, talk)
        for _ in range(self._redraws):
            if isinstance(edited, Violations) or not (found := context.met.told(edited, talk.base) if context.met else ""):
                break
            messages = follow_up(talk.messages, talk.answer, self._prompts.parts["again"].fill(found=found))
            other, redrawn = self._edited(id, replace(talk, messages=messages, recipe=_hotter(talk.recipe)))
            if isinstance(redrawn, Violations):
                talk = replace(talk, calls=other.calls)
            else:
                talk, edited = other, redrawn
        return talk, edited

    def _edited(self, id: str, talk: Talk) -> tuple[Talk, Genome | Violations]:
        """Ask, edit, and send a bad answer back with what is wrong with it."""
        for attempt in range(self._repairs + 1):
            completion = self._calls.ask(id, talk.calls, talk.messages, talk.recipe)
            talk = replace(talk, calls=talk.calls + 1)
            if isinstance(completion, Violations):
                return talk, completion
            talk = replace(talk, answer=completion.text)
            edited = self._editor.apply(talk.base, talk.recipe.blocks, completion.text)
            if not isinstance(edited, Violations):
                return talk, edited
            broken = edited
            self._record(Rejected(id, talk.calls - 1, broken.stage, broken.reasons))
            if completion.finish_reason == "length":
                broken = Violations(("The answer was cut off at its length limit.", *broken.reasons), broken.stage)
                talk = replace(talk, recipe=_roomier(talk.recipe))
            elif attempt < self._repairs:
                talk = replace(talk, messages=repair(self._prompts, talk.messages, completion.text, broken.reasons))
        return talk, broken

    def _answer(self, question: Question) -> str:
        recipe = Recipe("reflect", (), (), question.model, seed=0)
        completion = self._calls.ask(question.id, 0, question.messages, recipe)
        return "" if isinstance(completion, Violations) else completion.text

    def _recalled(self, variant: Variant, context: Context) -> Talk | None:
        """The conversation that an earlier process had about this variant, as far as the journal tells it."""
        told = self._memo.conversations.get(variant.id)
        if told is None:
            return None
        recipes = variant.birth.recipes
        base = context.individuals[recipes[0].parents[0]].genome if len(recipes) == 1 else variant.genome
        return Talk(recipes[-1], base, told.messages, told.answer, told.calls, told.mended)


def _hotter(recipe: Recipe) -> Recipe:
    usual = 1.0 if recipe.temperature is None else recipe.temperature
    return replace(recipe, temperature=round(max(usual, min(HOTTEST, HOTTER * usual)), 3))


def _roomier(recipe: Recipe) -> Recipe:
    return recipe if recipe.max_tokens is None else replace(recipe, max_tokens=MORE_ROOM * recipe.max_tokens)


class _Calls:
    """The model calls of all children, numbered by child, so that a resumed run finds each answer that was paid for."""

    def __init__(self, models: Mapping[str, LanguageModel], record: Record, memo: Memo, gate: Gate) -> None:
        self._models, self._record, self._memo, self._gate = models, record, memo, gate

    def ask(self, id: str, call: int, messages: tuple[Message, ...], recipe: Recipe) -> Completion | Violations:
        if known := self._memo.answers.get((id, call)):
            return known
        self._gate.to_breed(id)
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
