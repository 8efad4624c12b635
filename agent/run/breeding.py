"""Breed candidates in several threads: prompts -> answers -> variants or failures. Answers are journaled before their use."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import replace

from agent.core.errors import Halted
from agent.genome import Editor, Genome, Violations, changed_names
from agent.journal.events import Answered, Asked, Bred, Rejected, Repaired, Settled
from agent.llm import Completion, LanguageModel, Message, Request, RequestRejected
from agent.memory import read_intention
from agent.operators import OPERATORS, Context, ModelFreeOperator, repair
from agent.operators.repair import follow_up
from agent.operators.templates import Prompts
from agent.population.candidate import Candidate, Conversation, Failure, Recipe, Variant
from agent.run.context import RunContext
from agent.search.reflection import Question

HOTTER = 1.3
"""A model is asked for another program at this multiple of the temperature."""
MORE_ROOM = 2
"""An answer that was cut off is asked for again with this many times as many tokens."""
RULES_AGAIN = 8
"""How often the rules of `offline` try again where theirs did not fit."""
_LOG = 600
"""Characters of a candidate's last output that are sent back."""


class BreedingPool:
    """Breeds several candidates at once, each in one thread.

    `llm.repairs` says how often an answer that breaks the contract, or a program that fails the smoke stage, is sent
    back; `llm.redraws` how often a program that is known already is asked to be another one.
    """

    def __init__(self, run: RunContext, prompts: Prompts, models: Mapping[str, LanguageModel], editor: Editor) -> None:
        self._run, self._prompts, self._editor = run, prompts, editor
        self._settings, self._models = run.config.llm, models
        self._threads = ThreadPoolExecutor(self._settings.concurrency, thread_name_prefix="breeding")

    def submit(self, candidate: Candidate, context: Context) -> Future[Variant | Failure]:
        """The future raises MachineError if the provider or the machine is at fault, Halted if no call is admitted."""
        return self._threads.submit(self._breed, candidate, context)

    def ask(self, question: Question) -> Future[str]:
        """The answer to a question about the search itself, which makes no candidate; empty if the provider rejects it."""
        return self._threads.submit(self._answer, question)

    def repair(self, variant: Variant, failure: Failure) -> Variant | Failure | None:
        """Send a variant that failed its smoke stage back to the model, in the calling thread; None if no attempt is left.

        A returned failure is that of the new answer. Raises as the future of `submit` does.
        """
        earlier = variant.conversation
        if failure.stage != "smoke" or earlier is None or earlier.repaired >= self._repairs(earlier):
            return None
        reasons = [failure.reason, *([f"Its last output: {failure.log[-_LOG:]}"] if failure.log else [])]
        messages = repair(self._prompts, earlier.messages, earlier.answer, reasons)
        conversation, edited = self._ask_and_edit(variant.id, replace(earlier, messages=messages, repaired=earlier.repaired + 1))
        if isinstance(edited, Violations):
            return Failure(variant.candidate, edited.stage, " ".join(edited.reasons), genome=variant.genome)
        kept = variant.changed if len(variant.candidate.recipes) > 1 else ()
        changed = tuple(dict.fromkeys([*kept, *changed_names(conversation.base, edited)]))
        intention, expected = read_intention(conversation.answer)
        said = intention or variant.intention, conversation, changed, expected or variant.expected
        repaired = Variant(variant.candidate, edited, *said)
        self._run.record(Repaired(repaired, failure.reason, conversation.repaired))
        return repaired

    def close(self) -> None:
        """Start nothing new; calls under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _breed(self, candidate: Candidate, context: Context) -> Variant | Failure:
        settled = self._run.replay.outcomes.get(candidate.id)
        if known := self._run.replay.variants.get(candidate.id):
            return known if settled else replace(known, conversation=self._recorded_conversation(known, context))
        if isinstance(settled, Failure):
            return settled
        parent = context.individuals[candidate.recipes[0].parents[0]].genome
        genome, intentions, calls = parent, list[str](), 0
        for recipe in candidate.recipes:
            conversation, edited, purpose = self._apply(candidate, recipe, genome, context, calls)
            if isinstance(edited, Violations):
                failure = Failure(candidate, edited.stage, " ".join(edited.reasons))
                self._run.record(Settled(failure))
                return failure
            genome, calls = edited, conversation.calls if conversation else calls
            intentions += [purpose] if purpose else []
        expected = read_intention(conversation.answer)[1] if conversation else ""
        variant = Variant(
            candidate, genome, " Then: ".join(intentions), conversation, changed_names(parent, genome), expected
        )
        self._run.record(Bred(variant))
        return variant

    def _apply(
        self, candidate: Candidate, recipe: Recipe, genome: Genome, context: Context, calls: int
    ) -> tuple[Conversation | None, Genome | Violations, str]:
        """Apply one recipe. Returns the conversation with a model if there was one, the edited genome, and the intention."""
        operator = OPERATORS[recipe.operator]
        if isinstance(operator, ModelFreeOperator):
            edited = self._editor.apply(genome, (), operator.answer(recipe, genome, context))
            return None, edited, operator.intention(recipe)
        unasked = Conversation(recipe, genome, operator.prompt(self._prompts, recipe, genome, context), calls=calls)
        conversation, edited = self._ask_for_new(candidate.id, unasked, context)
        return conversation, edited, read_intention(conversation.answer)[0]

    def _ask_for_new(self, id: str, conversation: Conversation, context: Context) -> tuple[Conversation, Genome | Violations]:
        """Ask and edit; if the program is known already, ask for another one, and use that if it is valid."""
        conversation, edited = self._ask_and_edit(id, conversation)
        for _ in range(self._again(self._settings.redraws, conversation)):
            if isinstance(edited, Violations) or context.known_programs is None:
                break
            if not (found := context.known_programs.describe(edited)):
                break
            reply = self._prompts.parts["again"].fill(found=found)
            messages = follow_up(conversation.messages, conversation.answer, reply)
            second = replace(conversation, messages=messages, recipe=conversation.recipe.hotter(HOTTER))
            other, redrawn = self._ask_and_edit(id, second)
            if isinstance(redrawn, Violations):
                conversation = replace(conversation, calls=other.calls)
            else:
                conversation, edited = other, redrawn
        return conversation, edited

    def _repairs(self, conversation: Conversation) -> int:
        """How often an answer is sent back at most."""
        return self._again(self._settings.repairs, conversation)

    @staticmethod
    def _again(configured: int, conversation: Conversation) -> int:
        """Rules choose anew each time and cost nothing, so one that does not fit costs no candidate."""
        return max(configured, RULES_AGAIN) if configured and conversation.recipe.model == "offline" else configured

    def _ask_and_edit(self, id: str, conversation: Conversation) -> tuple[Conversation, Genome | Violations]:
        """Ask the model and edit the genome; send a bad answer back with the reasons why it cannot be used."""
        repairs = self._repairs(conversation)
        for attempt in range(repairs + 1):
            # If an earlier process made this call and got no answer, send the same prompt again.
            messages = self._run.replay.asked.get((id, conversation.calls), conversation.messages)
            completion = self._call(id, conversation.calls, messages, conversation.recipe)
            conversation = replace(conversation, calls=conversation.calls + 1, messages=messages)
            if isinstance(completion, Violations):
                return conversation, completion
            if not completion.text.strip() and completion.finish_reason != "length":
                reasons = (completion.missing or "The answer is empty.",)
                self._run.record(Rejected(id, conversation.calls - 1, "answer", reasons))
                return conversation, Violations(reasons, "answer")  # there is nothing to send back for repair
            conversation = replace(conversation, answer=completion.text)
            edited = self._editor.apply(conversation.base, conversation.recipe.blocks, completion.text)
            if not isinstance(edited, Violations):
                return conversation, edited
            violations = edited
            self._run.record(Rejected(id, conversation.calls - 1, violations.stage, violations.reasons))
            if completion.finish_reason == "length":
                violations = Violations(("The answer was cut off at its length limit.", *violations.reasons), violations.stage)
                conversation = replace(conversation, recipe=_with_more_room(conversation.recipe))
            elif attempt < repairs:
                sent_back = repair(self._prompts, conversation.messages, completion.text, violations.reasons)
                conversation = replace(conversation, messages=sent_back)
        return conversation, violations

    def _answer(self, question: Question) -> str:
        """The answer to a question about the search; empty if the provider rejects it.

        An earlier process may have asked another question by this id, of which nothing was kept but the call.
        """
        call, earlier = 0, self._run.replay.asked
        while (question.id, call) in earlier and earlier[question.id, call] != question.messages:
            call += 1
        recipe = Recipe("reflect", (), (), question.model, seed=0)
        completion = self._call(question.id, call, question.messages, recipe)
        return "" if isinstance(completion, Violations) else completion.text

    def _call(self, id: str, call: int, messages: tuple[Message, ...], recipe: Recipe) -> Completion | Violations:
        """Ask the model, or return the answer that an earlier process got. Calls are numbered by candidate for this purpose."""
        if known := self._run.replay.answers.get((id, call)):
            return known
        self._run.admission.before_call(id)
        self._run.record(Asked(id, call, recipe.model, messages, recipe.temperature, recipe.max_tokens))
        request = Request(messages, recipe.seed + call, recipe.temperature, recipe.max_tokens)
        try:
            completion = self._models[recipe.model].complete(request)
        except RequestRejected as rejected:
            return Violations((str(rejected),), "answer")
        except CancelledError:  # the model was closed, because the run is ending
            raise Halted from None
        self._run.record(Answered(id, call, completion))
        return completion

    def _recorded_conversation(self, variant: Variant, context: Context) -> Conversation | None:
        """The conversation that an earlier process had about this variant; None if the journal has none."""
        recorded = self._run.replay.conversations.get(variant.id)
        if recorded is None:
            return None
        recipes = variant.candidate.recipes
        base = context.individuals[recipes[0].parents[0]].genome if len(recipes) == 1 else variant.genome
        return Conversation(recipes[-1], base, recorded.messages, recorded.answer, recorded.calls, recorded.repaired)


def _with_more_room(recipe: Recipe) -> Recipe:
    """The recipe with a higher limit on the answer's length."""
    return recipe if recipe.max_tokens is None else replace(recipe, max_tokens=MORE_ROOM * recipe.max_tokens)
